//! The address of a call: model, region, host and path.
//!
//! Regions and hosts: <https://docs.aws.amazon.com/general/latest/gr/bedrock.html>. Escaping: in a segment of the path,
//! the SDKs leave only RFC 3986's unreserved characters as they are.

use http::Uri;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::error::{Error, Result};
use crate::providers::Deployment;
use crate::types::credentials::Credentials;

/// Default base URL; the region takes the place of the braces, and the domain is that of its partition.
pub(super) const BASE_URL: &str = "https://bedrock-runtime.{region}.amazonaws.com";

const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Prefixes of regions that are not under `amazonaws.com`, and their domains.
const DOMAINS: &[(&str, &str)] = &[
    ("cn-", "amazonaws.com.cn"),
    ("eusc-", "amazonaws.eu"),
    ("us-iso-", "c2s.ic.gov"),
    ("us-isob-", "sc2s.sgov.gov"),
    ("eu-isoe-", "cloud.adc-e.uk"),
    ("us-isof-", "csp.hci.ic.gov"),
];

/// Returns the model's id or ARN, without `converse/`, with which other clients choose this API, and without a region.
pub(super) fn model(deployment: &Deployment) -> &str {
    let model = deployment.model.strip_prefix("converse/").unwrap_or(&deployment.model);
    match model.split_once('/') {
        Some((region, rest)) if looks_like_region(region) => rest,
        _ => model,
    }
}

/// Returns true if the region is known without reading profile files.
pub(super) fn is_known(deployment: &Deployment) -> bool {
    named_region(deployment).is_some()
}

/// Returns the region that a call is sent to and signed for.
///
/// # Errors
/// `InvalidArgument` if there is none, or one with characters that no region has.
pub(super) fn region(deployment: &Deployment) -> Result<&str> {
    let of_profile = || match &deployment.credentials {
        Credentials::Aws(found) => found.region.as_deref(),
        _ => None,
    };
    match named_region(deployment).or_else(of_profile) {
        // The region becomes a part of the host that credentials are sent to.
        Some(region)
            if region.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-') =>
        {
            Ok(region)
        }
        Some(region) => Err(Error::argument(format!("{region:?} is no AWS region: write one such as \"us-east-1\""))),
        None => Err(Error::argument(
            "no region for bedrock: set AWS_REGION, pass aws_region_name=, or write a region into the profile",
        )),
    }
}

/// Returns the region that the call itself names.
///
/// The resource of an ARN exists in the ARN's region only, so that region wins; then one in the model's name
/// (`us-west-2/anthropic…`), then the setting, then the one in the base URL's host.
fn named_region(deployment: &Deployment) -> Option<&str> {
    let model = deployment.model.strip_prefix("converse/").unwrap_or(&deployment.model);
    let in_arn = model.strip_prefix("arn:").and_then(|arn| arn.split(':').nth(2)).filter(|region| !region.is_empty());
    let in_model = || model.split_once('/').map(|(region, _)| region).filter(|region| looks_like_region(region));
    in_arn
        .or_else(in_model)
        .or(deployment.setting("aws_region_name"))
        .or_else(|| region_of_host(configured_base_url(deployment)?))
}

/// Returns the address of a call.
///
/// # Errors
/// `InvalidArgument` without a region, and for a base URL that is no plain HTTP address.
pub(super) fn address(deployment: &Deployment, operation: &str) -> Result<Uri> {
    let base_url = match configured_base_url(deployment) {
        Some(url) => url.trim().trim_end_matches('/').to_owned(),
        None => {
            let region = region(deployment)?;
            let domain = DOMAINS
                .iter()
                .find(|(start, _)| region.starts_with(start))
                .map_or("amazonaws.com", |(_, domain)| domain);
            format!("https://bedrock-runtime.{region}.{domain}")
        }
    };
    let address = format!("{base_url}/model/{}/{operation}", utf8_percent_encode(model(deployment), ESCAPED));
    let refused = |why: &str| Error::argument(format!("the address of bedrock cannot be used: {why}"));
    let uri = Uri::try_from(address).map_err(|error| refused(&error.to_string()))?;
    match (uri.scheme_str(), uri.authority(), uri.query()) {
        (Some("http" | "https"), Some(authority), None) if !authority.as_str().contains('@') => Ok(uri),
        _ => Err(refused("write one such as \"https://bedrock-runtime.us-east-1.amazonaws.com\"")),
    }
}

/// Returns the configured base URL: `base_url`, or Bedrock's own setting.
fn configured_base_url(deployment: &Deployment) -> Option<&str> {
    Some(&*deployment.base_url).filter(|url| *url != BASE_URL).or(deployment.setting("aws_bedrock_runtime_endpoint"))
}

/// Returns the region in one of AWS's host names.
fn region_of_host(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://bedrock-runtime")?;
    let (_, rest) = rest.split_once('.')?;
    rest.split('.').next().filter(|region| looks_like_region(region))
}

/// Returns true for text such as `us-east-1` or `us-gov-west-1`: words and a number, joined by dashes.
fn looks_like_region(text: &str) -> bool {
    let mut parts = text.rsplit('-');
    let is_number =
        parts.next().is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()));
    let words: Vec<&str> = parts.collect();
    is_number
        && words.len() >= 2
        && words.iter().all(|word| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::secret::Secret;

    fn deployment(model: &str, base_url: &str, settings: &[(&'static str, &str)]) -> Deployment {
        Deployment {
            provider: &super::super::Bedrock,
            model: model.into(),
            base_url: base_url.into(),
            api_key: None,
            api_version: None,
            settings: settings.iter().map(|(name, value)| (*name, Secret::new(*value))).collect(),
            credentials: Default::default(),
        }
    }

    const EAST: &[(&str, &str)] = &[("aws_region_name", "us-east-1")];

    #[test]
    fn ids_and_arns_are_escaped() {
        let address = |model: &str, settings: &[(&'static str, &str)]| {
            address(&deployment(model, BASE_URL, settings), "converse").unwrap().to_string()
        };
        assert_eq!(
            address("us.a.b-v1:0", EAST),
            "https://bedrock-runtime.us-east-1.amazonaws.com/model/us.a.b-v1%3A0/converse"
        );
        assert_eq!(address("converse/us.a.b-v1:0", EAST), address("us.a.b-v1:0", EAST));
        let arn = "arn:aws:bedrock:eu-west-1:123456789012:application-inference-profile/abc";
        assert_eq!(
            address(arn, EAST),
            "https://bedrock-runtime.eu-west-1.amazonaws.com/model/arn%3Aaws%3Abedrock%3Aeu-west-1%3A123456789012%3Aapplication-inference-profile%2Fabc/converse"
        );
        assert_eq!(
            address("us-west-2/a.b", EAST),
            "https://bedrock-runtime.us-west-2.amazonaws.com/model/a.b/converse"
        );
        assert_eq!(
            address("a.b", &[("aws_region_name", "cn-north-1")]),
            "https://bedrock-runtime.cn-north-1.amazonaws.com.cn/model/a.b/converse"
        );
    }

    #[test]
    fn the_region_is_found_or_asked_for() {
        let endpoint = [("aws_bedrock_runtime_endpoint", "https://bedrock-runtime-fips.us-gov-west-1.amazonaws.com")];
        assert_eq!(region(&deployment("a.b", BASE_URL, &endpoint)).unwrap(), "us-gov-west-1");
        let error = region(&deployment("a.b", BASE_URL, &[])).unwrap_err();
        assert!(error.message.contains("AWS_REGION"), "{error}");
        // Credentials must not go to a host that somebody wrote into a model's name.
        for model in ["arn:aws:bedrock:evil.example/:1:x/y", "arn:aws:bedrock:a@b:1:x/y"] {
            assert!(address(&deployment(model, BASE_URL, EAST), "converse").is_err(), "{model}");
        }
    }

    #[test]
    fn an_address_that_was_given_is_used() {
        let given = deployment("a.b", "http://127.0.0.1:1/c1", EAST);
        assert_eq!(
            address(&given, "converse-stream").unwrap().to_string(),
            "http://127.0.0.1:1/c1/model/a.b/converse-stream"
        );
        for wrong in ["127.0.0.1:1", "ftp://h", "https://u:p@h", "https://h/?x=1"] {
            assert!(
                address(&deployment("a.b", BASE_URL, &[("aws_bedrock_runtime_endpoint", wrong)]), "converse").is_err(),
                "{wrong}"
            );
        }
    }
}
