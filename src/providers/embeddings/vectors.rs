//! Checks the vectors of an answer against the request: one for each input, in the order of the inputs, none missing, all
//! of one length. Unpacks vectors in base64 that are no 32-bit floats.

use std::sync::LazyLock;

use aws_smithy_types::base64;
use bytes::Bytes;
use memchr::memmem::Finder;
use memchr::{memchr, memchr_iter};
use serde_json::value::RawValue;

use crate::error::{Error, ErrorKind, Result};
use crate::providers::edit::copy_with;
use crate::providers::errors::excerpt;
use crate::types::http::HttpResponse;
use crate::types::lenient::Scalar;
use crate::types::members::Members;
use crate::types::object::{ArrayWriter, array};
use crate::types::request::Request;

/// Format of a vector's bytes in base64.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packed {
    /// Signed bytes, one for each dimension.
    Int8,
    /// Eight dimensions in each byte: returned as the bytes, 0 to 255.
    Bits,
}

/// Returns an answer in OpenAI's shape with its vectors in the order of the inputs, if they are what was asked for.
///
/// # Errors
/// `ApiResponseValidation` if a vector is missing, null or empty, or lengths differ.
pub(in crate::providers) fn check_vectors(
    provider: &str,
    request: &Request,
    response: &HttpResponse,
    body: Bytes,
) -> Result<Bytes> {
    let expected = count_inputs(request);
    if is_regular(&body, expected) {
        return Ok(body);
    }
    let wrong = |why: &str| {
        let message = format!("{provider} answered {} with embeddings of which {why}", response.status);
        let mut error = Error::new(ErrorKind::ApiResponseValidation, message);
        error.provider = Some(provider.to_owned());
        error.status = Some(response.status);
        error.body = Some(response.body.clone());
        error
    };
    let read = || -> Option<(Members, Vec<&RawValue>)> {
        let top = Members::of(&body).ok()?;
        let items = serde_json::from_str(top.some("data")?).ok()?;
        Some((top, items))
    };
    let Some((top, items)) = read() else { return Err(wrong(&format!("nothing can be read: {}", excerpt(&body)))) };
    if let Some(expected) = expected.filter(|expected| *expected != items.len()) {
        return Err(wrong(&format!("there are {}, for {expected} inputs", items.len())));
    }
    let mut indexes = Vec::with_capacity(items.len());
    let mut first_length = None;
    for (position, item) in items.iter().enumerate() {
        let item = Members::of(item.get().as_bytes()).unwrap_or_default();
        let vector = item.some("embedding").unwrap_or("[]");
        let length = length(vector);
        if length == Some(0) {
            return Err(wrong(&format!("the one at place {position} is missing or empty")));
        }
        if length.is_some() && *first_length.get_or_insert(length) != length {
            return Err(wrong(&format!("the one at place {position} is not as long as the first")));
        }
        if vector.starts_with('[') && vector.contains("null") {
            return Err(wrong(&format!("the one at place {position} has a number that is null")));
        }
        indexes.push(item.some("index").and_then(Option::<u64>::of));
    }
    let mut order: Vec<(u64, usize)> =
        indexes.iter().enumerate().filter_map(|(position, index)| Some(((*index)?, position))).collect();
    order.sort_unstable();
    let is_complete = order.len() == items.len() && order.windows(2).all(|pair| pair[0].0 != pair[1].0);
    // Some hosts give all of them the same index, or none: these are in the order of the inputs.
    if !is_complete || order.iter().map(|(_, position)| *position).eq(0..items.len()) {
        return Ok(body);
    }
    let mut data = ArrayWriter::with_capacity(body.len());
    order.iter().for_each(|(_, position)| data.push_raw(items[*position].get()));
    Ok(with_data(&top, &data.finish()))
}

/// Returns the number of a call's inputs; `None` if that cannot be known.
fn count_inputs(request: &Request) -> Option<usize> {
    let input = request.params.get("input")?.trim_ascii();
    match input {
        [b'"', ..] => Some(1),
        [b'[', rest @ ..] => match rest.trim_ascii_start() {
            // Tokens of one text.
            [b'0'..=b'9', ..] => Some(1),
            [b']', ..] => None,
            _ => serde_json::from_slice::<Vec<&RawValue>>(input).ok().map(|inputs| inputs.len()),
        },
        _ => None,
    }
}

/// Returns the number of a vector's numbers, or of its characters of base64; `None` for what is neither, such as a vector
/// for each token.
fn length(vector: &str) -> Option<usize> {
    match vector.as_bytes() {
        [b'"', text @ .., b'"'] => Some(text.len()),
        [b'[', numbers @ .., b']'] if numbers.contains(&b'[') || numbers.contains(&b'{') => None,
        [b'[', numbers @ .., b']'] if numbers.trim_ascii().is_empty() => Some(0),
        [b'[', numbers @ .., b']'] => Some(memchr_iter(b',', numbers).count() + 1),
        _ => None,
    }
}

static EMBEDDING: LazyLock<Finder> = LazyLock::new(|| Finder::new(b"\"embedding\""));
static INDEX: LazyLock<Finder> = LazyLock::new(|| Finder::new(b"\"index\""));

/// Returns true if searches alone show that an answer is right: nearly all are, and need not be parsed for this. The vectors
/// are skipped: base64 has no quotes in it, and numbers have no brackets.
fn is_regular(body: &[u8], expected: Option<usize>) -> bool {
    let (mut position, mut found, mut first_length, mut next_index) = (0, 0, None, 0u64);
    let value = |rest: &[u8], from: usize| -> Option<usize> {
        let rest = rest.get(from..)?;
        let value = rest.trim_ascii_start().strip_prefix(b":")?.trim_ascii_start();
        Some(from + rest.len() - value.len())
    };
    loop {
        let rest = &body[position..];
        // In `"object":"embedding"` it is a value, and no member's name.
        let member = EMBEDDING.find_iter(rest).find_map(|start| value(rest, start + b"\"embedding\"".len()));
        let gap = &rest[..member.unwrap_or(rest.len())];
        for name in INDEX.find_iter(gap) {
            let Some(start) = value(gap, name + b"\"index\"".len()) else { return false };
            let digits = gap[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
            let index = std::str::from_utf8(&gap[start..start + digits]).ok().and_then(|index| index.parse().ok());
            if index != Some(next_index) {
                return false;
            }
            next_index += 1;
        }
        let Some(start) = member else { break };
        let vector = &rest[start..];
        let close = match vector.first() {
            Some(b'[') => b']',
            Some(b'"') => b'"',
            _ => return false,
        };
        let Some(end) = memchr(close, &vector[1..]) else { return false };
        let vector = &vector[..end + 2];
        let Some(length) = std::str::from_utf8(vector).ok().and_then(length).filter(|length| *length > 0) else {
            return false;
        };
        if *first_length.get_or_insert(length) != length || close == b']' && memchr(b'u', vector).is_some() {
            return false;
        }
        found += 1;
        position += start + vector.len();
    }
    // Every vector has an index, or none has.
    found > 0 && expected.is_none_or(|expected| expected == found) && (next_index == 0 || next_index == found as u64)
}

/// Returns an answer with its packed vectors as lists of numbers. Values that are no base64 stay as they are.
pub(super) fn unpack(body: Bytes, packed: Packed) -> Bytes {
    let Ok(top) = Members::of(&body) else { return body };
    let items: Vec<Members> = top.some("data").map(crate::types::lenient::list_of).unwrap_or_default();
    let unpack = |name: &str, value: &str| {
        let is_packed = name == "embedding" && value.starts_with('"');
        let bytes = is_packed.then(|| base64::decode(value.trim_matches('"')).ok())??;
        Some(array(|numbers| match packed {
            Packed::Int8 => bytes.iter().for_each(|byte| numbers.push(&byte.cast_signed())),
            Packed::Bits => bytes.iter().for_each(|byte| numbers.push(byte)),
        }))
    };
    let mut data = ArrayWriter::with_capacity(body.len());
    items.iter().for_each(|item| data.push_raw(copy_with(item, unpack).finish()));
    with_data(&top, &data.finish())
}

fn with_data(top: &Members, data: &Bytes) -> Bytes {
    copy_with(top, |name, _| (name == "data").then_some(data)).finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::params::Params;

    fn held(input: &str, body: &str) -> Result<String> {
        let params = Params::from_json(format!(r#"{{"input":{input}}}"#).as_bytes()).unwrap();
        let request = Request { params, ..Request::default() };
        let body = Bytes::copy_from_slice(body.as_bytes());
        let response = HttpResponse { received: 0, status: 200, headers: Default::default(), body: body.clone() };
        check_vectors("p", &request, &response, body).map(|body| String::from_utf8(body.to_vec()).unwrap())
    }

    fn data(items: &[&str]) -> String {
        format!(r#"{{"object":"list","data":[{}],"model":"m","usage":{{"total_tokens":1}}}}"#, items.join(","))
    }

    #[test]
    fn what_is_right_is_not_touched() {
        for (input, items) in [
            (r#""a""#, &[r#"{"object":"embedding","index":0,"embedding":[0.5, 1e-3]}"#][..]),
            (r#"["a","b"]"#, &[r#"{"index":0,"embedding":"AAAA"}"#, r#"{"index":1,"embedding":"BBBB"}"#]),
            (r#"["a","b"]"#, &[r#"{"embedding": [1], "index": 0}"#, r#"{"embedding": [2], "index": 1}"#]),
            (r#"["a","b"]"#, &[r#"{"embedding":[1]}"#, r#"{"embedding":[2]}"#]),
            (r#"[[1,2],[3]]"#, &[r#"{"index":0,"embedding":[1]}"#, r#"{"index":1,"embedding":[2]}"#]),
            ("[1,2]", &[r#"{"index":0,"embedding":[1]}"#]),
        ] {
            let body = data(items);
            let params = Params::from_json(format!(r#"{{"input":{input}}}"#).as_bytes()).unwrap();
            assert!(is_regular(body.as_bytes(), count_inputs(&Request { params, ..Request::default() })), "{body}");
            assert_eq!(held(input, &body).unwrap(), body);
        }
        // These have to be parsed, and are accepted too.
        for items in [
            &[r#"{"index":0,"embedding":[1]}"#, r#"{"index":0,"embedding":[2]}"#][..],
            &[r#"{"index":null,"embedding":[1]}"#, r#"{"index":"x","embedding":[2]}"#],
            &[r#"{"index":0,"embedding":[[1,2],[3,4]]}"#, r#"{"index":1,"embedding":[[1,2]]}"#],
        ] {
            assert_eq!(held(r#"["a","b"]"#, &data(items)).unwrap(), data(items));
        }
    }

    #[test]
    fn they_stand_in_the_order_of_the_inputs() {
        let (first, second) =
            (r#"{"index":0,"embedding":[1.0]}"#, r#"{"object":"embedding","index":1,"embedding":[2.0]}"#);
        assert_eq!(held(r#"["a","b"]"#, &data(&[second, first])).unwrap(), data(&[first, second]));
    }

    #[test]
    fn what_is_not_what_was_asked_is_an_error() {
        let one = r#"{"index":0,"embedding":[1,2]}"#;
        for (input, items, why) in [
            (r#"["a","b"]"#, &[one][..], "1, for 2 inputs"),
            (r#""a""#, &[one, r#"{"index":1,"embedding":[1,2]}"#], "2, for 1 inputs"),
            (r#"["a","b"]"#, &[one, r#"{"index":1,"embedding":null}"#], "place 1 is missing"),
            (r#"["a","b"]"#, &[one, r#"{"index":1}"#], "place 1 is missing"),
            (r#"["a","b"]"#, &[one, "null"], "place 1 is missing"),
            (r#"["a","b"]"#, &[one, r#"{"index":1,"embedding":[]}"#], "place 1 is missing"),
            (r#"["a","b"]"#, &[one, r#"{"index":1,"embedding":[1]}"#], "not as long"),
            (r#""a""#, &[r#"{"index":0,"embedding":[1,null]}"#], "null"),
        ] {
            let error = held(input, &data(items)).unwrap_err();
            assert_eq!(error.kind, ErrorKind::ApiResponseValidation);
            assert!(error.message.contains(why), "{error}");
        }
    }

    #[test]
    fn packed_vectors_become_numbers() {
        let body = data(&[r#"{"index":0,"embedding":"AX+A/w=="}"#, r#"{"index":1,"embedding":[1]}"#]);
        let unpack = |packed| String::from_utf8(super::unpack(body.clone().into(), packed).to_vec()).unwrap();
        assert!(unpack(Packed::Int8).contains("[1,127,-128,-1]"));
        assert!(unpack(Packed::Bits).contains("[1,127,128,255]") && unpack(Packed::Bits).contains("[1]}"));
    }
}
