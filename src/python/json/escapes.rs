//! JSON strings of ASCII whose escapes are all of one letter. Their decoded length is known in advance, so that they are
//! written only once, straight into the memory of the `str`.

use memchr::memchr2;

/// Number of bytes of a string that are searched in one go: few enough to be still in the nearest cache when they are read
/// again.
pub(crate) const STRETCH: usize = 8 * 1024;

/// Size of a copy of fixed length, which stands for all shorter pieces between two escapes.
const WIDE: usize = 64;

/// Bytes that a backslash and a letter stand for; 0 for what is no escape of one letter.
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

/// Returns the byte that a backslash and this letter stand for.
pub(crate) fn unescaped(letter: u8) -> Option<u8> {
    Some(LETTERS[usize::from(letter)]).filter(|byte| *byte > 0)
}

/// Positions of the escapes in a string. Most strings have few.
pub(crate) type EscapeIndexes = smallvec::SmallVec<[usize; 64]>;

/// Searches the rest of a string, from its first escape at `at` on. Returns the position of the closing quote, and puts those
/// of the escapes into `indexes`; returns `None` if the string has anything else than ASCII and escapes of one letter.
pub(crate) fn find(json: &[u8], mut at: usize, indexes: &mut EscapeIndexes) -> Option<usize> {
    indexes.clear();
    #[cfg(target_arch = "x86_64")]
    {
        // Bit 0 is set if the first byte is the letter of an escape whose backslash ended the block before.
        let mut letter = 0;
        while let Some(block) = json[at..].first_chunk() {
            let Marks { stops, wide } = marks(block);
            let mut stops = stops & !std::mem::take(&mut letter);
            while stops > 0 {
                let bit = stops.trailing_zeros();
                let index = at + bit as usize;
                if json[index] == b'"' {
                    return (wide & !(u64::MAX << bit) == 0).then_some(index);
                }
                unescaped(*json.get(index + 1)?)?;
                indexes.push(index);
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

/// Bit masks of a block, a bit for each byte.
#[cfg(target_arch = "x86_64")]
struct Marks {
    /// Quotes and backslashes.
    stops: u64,
    /// Bytes that are not ASCII.
    wide: u64,
}

/// Computes the masks of a block with SSE2, which is part of every x86-64.
///
/// Where there is an escape every fifty bytes, a search for each of them takes three times as long: 224 µs and 81 µs for
/// 2 MB.
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

/// Writes the text of a string: `json`, without its quotes, less the backslashes at `indexes`.
///
/// # Safety
///
/// `to` must have room for as many bytes as `json` has, less one for each of `indexes`. Those must be positions in `json`,
/// counted from `start`, each of a backslash that begins an escape of one letter, in order.
pub(crate) unsafe fn write(json: &[u8], start: usize, indexes: &[usize], to: *mut u8) {
    let length = json.len() - indexes.len();
    let (mut from, mut written) = (0, 0);
    for index in indexes.iter().map(|index| index - start).chain([json.len()]) {
        let plain = index - from;
        // SAFETY: as much is left of the room as of the text, which is what the caller promises. A copy of fixed size, which
        // is several times cheaper, is made where that much is left of the room, and so of `json`, which is no shorter; the
        // next copy overwrites the excess.
        unsafe {
            let (read, write) = (json.as_ptr().add(from), to.add(written));
            match plain <= WIDE && written + WIDE <= length {
                true => std::ptr::copy_nonoverlapping(read, write, WIDE),
                false => std::ptr::copy_nonoverlapping(read, write, plain),
            }
            written += plain;
            if index < json.len() {
                to.add(written).write(LETTERS[usize::from(*json.get_unchecked(index + 1))]);
                written += 1;
            }
        }
        from = index + 2;
    }
}
