//! JSON strings of ASCII whose escapes are those of one letter: how long they are is known before they are made, so that
//! they are written just once, to where they stay.

use memchr::memchr2;

/// How much of a string is looked at in one go: what is still in the nearest cache when it is looked at again.
pub(crate) const STRETCH: usize = 8 * 1024;

/// Pieces of up to so many bytes between two escapes are copied as if they had so many.
const WIDE: usize = 64;

/// What a backslash and a letter stand for; 0: it is no escape of one letter.
const LETTERS: [u8; 256] = {
    let mut letters = [0; 256];
    letters[b'"' as usize] = b'"';
    letters[b'\\' as usize] = b'\\';
    letters[b'/' as usize] = b'/';
    letters[b'n' as usize] = b'\n';
    letters[b't' as usize] = b'\t';
    letters[b'r' as usize] = b'\r';
    letters[b'b' as usize] = 8;
    letters[b'f' as usize] = 12;
    letters
};

/// What a backslash and this letter stand for.
pub(crate) fn unescaped(letter: u8) -> Option<u8> {
    Some(LETTERS[usize::from(letter)]).filter(|byte| *byte > 0)
}

/// Where the escapes of a string stand. Most have few.
pub(crate) type EscapeIndexes = smallvec::SmallVec<[usize; 64]>;

/// Looks through the rest of a string, from `at` on, which is where its first escape stands. Gives the place of its last
/// quote, and puts those of the escapes into `indexes`; `None` if there is anything else in it than ASCII and escapes of one
/// letter.
pub(crate) fn find(json: &[u8], mut at: usize, indexes: &mut EscapeIndexes) -> Option<usize> {
    indexes.clear();
    #[cfg(target_arch = "x86_64")]
    {
        // The letter of an escape whose backslash was the last byte of the block before.
        let mut letter = 0;
        while let Some(block) = json[at..].first_chunk() {
            let Marks { stops, wide } = marks(block);
            let mut stops = stops & !std::mem::take(&mut letter);
            while stops > 0 {
                let bit = stops.trailing_zeros();
                let place = at + bit as usize;
                if json[place] == b'"' {
                    return (wide & !(u64::MAX << bit) == 0).then_some(place);
                }
                unescaped(*json.get(place + 1)?)?;
                indexes.push(place);
                let both = 3 << bit;
                letter = u64::from(bit == 63);
                stops &= !both;
            }
            if wide > 0 {
                return None;
            }
            at += BLOCK;
        }
        at += letter as usize;
    }
    let mut looked_at = at;
    loop {
        at += memchr2(b'"', b'\\', json.get(at..)?)?;
        let is_end = json[at] == b'"';
        if is_end || at - looked_at > STRETCH {
            if !json[looked_at..at].is_ascii() {
                return None;
            }
            looked_at = at;
        }
        if is_end {
            return Some(at);
        }
        unescaped(*json.get(at + 1)?)?;
        indexes.push(at);
        at += 2;
    }
}

#[cfg(target_arch = "x86_64")]
const BLOCK: usize = 64;

/// A bit for each byte of a block.
#[cfg(target_arch = "x86_64")]
struct Marks {
    /// Quotes and backslashes.
    stops: u64,
    /// What is not ASCII.
    wide: u64,
}

/// Where there is an escape every fifty bytes, a search for each of them takes three times as long as this: 224 µs and
/// 81 µs for 2 MB. SSE2 is part of every x86-64.
#[cfg(target_arch = "x86_64")]
fn marks(block: &[u8; BLOCK]) -> Marks {
    use std::arch::x86_64::{_mm_cmpeq_epi8, _mm_loadu_si128, _mm_movemask_epi8, _mm_or_si128, _mm_set1_epi8};

    let mut marks = Marks { stops: 0, wide: 0 };
    for (index, part) in block.as_chunks::<16>().0.iter().enumerate() {
        // SAFETY: every x86-64 has SSE2; sixteen bytes are read from where there are sixteen, and need not be aligned.
        let (stops, wide) = unsafe {
            let part = _mm_loadu_si128(part.as_ptr().cast());
            let quotes = _mm_cmpeq_epi8(part, _mm_set1_epi8(b'"' as i8));
            let backslashes = _mm_cmpeq_epi8(part, _mm_set1_epi8(b'\\' as i8));
            (_mm_movemask_epi8(_mm_or_si128(quotes, backslashes)), _mm_movemask_epi8(part))
        };
        marks.stops |= u64::from(stops as u16) << (16 * index);
        marks.wide |= u64::from(wide as u16) << (16 * index);
    }
    marks
}

/// Writes the text of a string: `json`, without what stands around it, less the backslashes at `indexes`.
///
/// # Safety
///
/// `to` has room for as many bytes as `json` has, less one for each of the places; those are places in `json`, counted from
/// `start`, each of a backslash that begins an escape of one letter, in order.
pub(crate) unsafe fn write(json: &[u8], start: usize, indexes: &[usize], to: *mut u8) {
    let length = json.len() - indexes.len();
    let (mut from, mut written) = (0, 0);
    for place in indexes.iter().map(|place| place - start).chain([json.len()]) {
        let plain = place - from;
        // SAFETY: as much is left of the room as of the text, which is what the caller promises. A copy of fixed size, which
        // is several times cheaper, is made where so much is left of the room, and so of `json`, which is no shorter; the
        // next one writes over what is too much.
        unsafe {
            let (read, write) = (json.as_ptr().add(from), to.add(written));
            match plain <= WIDE && written + WIDE <= length {
                true => std::ptr::copy_nonoverlapping(read, write, WIDE),
                false => std::ptr::copy_nonoverlapping(read, write, plain),
            }
            written += plain;
            if place < json.len() {
                to.add(written).write(LETTERS[usize::from(*json.get_unchecked(place + 1))]);
                written += 1;
            }
        }
        from = place + 2;
    }
}
