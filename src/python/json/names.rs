//! A cache of interned names.

use pyo3::prelude::*;
use pyo3::types::PyString;

use super::classes::Class;
use crate::python::values;

/// Cache of interned names and the classes of what stands under them.
///
/// Two names may share a slot, the newer one first; a third replaces the older. So the cache cannot grow.
pub(super) struct Names([[Option<Name>; 2]; Names::SLOTS]);

/// A name of the cache.
struct Name {
    text: Box<[u8]>,
    interned: Py<PyString>,
    class: Class,
}

impl Names {
    const BITS: u32 = 8;
    const SLOTS: usize = 1 << Self::BITS;
    /// Longer names are rare, and may be data.
    pub const LONGEST: usize = 40;

    /// Makes an empty cache.
    pub const fn new() -> Self {
        Self([const { [None, None] }; Self::SLOTS])
    }

    /// Returns the interned name and its class, or `None` if it is not UTF-8.
    pub fn get<'py>(&mut self, py: Python<'py>, text: &[u8]) -> Option<(Bound<'py, PyString>, Class)> {
        let [newer, older] = &mut self.0[Self::slot(text)];
        for name in [&*newer, &*older].into_iter().flatten() {
            if *name.text == *text {
                return Some((name.interned.bind(py).clone(), name.class));
            }
        }
        let (interned, class) = intern_name(py, text)?;
        *older = newer.replace(Name { text: text.into(), interned: interned.clone().unbind(), class });
        Some((interned, class))
    }

    /// Hashes the length and both ends of a name, in a few instructions: names are many, and short.
    fn slot(text: &[u8]) -> usize {
        let ends = match text {
            [.., _, _, _, _, _, _, _, _] => text
                .first_chunk()
                .zip(text.last_chunk())
                .map(|(first, last)| u64::from_le_bytes(*first) ^ u64::from_le_bytes(*last).rotate_left(29)),
            _ => None,
        };
        let ends = ends.unwrap_or_else(|| text.iter().fold(0, |ends, byte| ends << 8 | u64::from(*byte)));
        let hash = (ends ^ text.len() as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        (hash >> (u64::BITS - Self::BITS)) as usize
    }
}

/// Interns a name without the cache. Returns `None` if it is not UTF-8.
pub(super) fn intern_name<'py>(py: Python<'py>, text: &[u8]) -> Option<(Bound<'py, PyString>, Class)> {
    let text = std::str::from_utf8(text).ok()?;
    // Without memory for it, the caller decodes the name as a string, and gets the `MemoryError` there.
    let interned = values::interned(py, text).ok()?;
    Some((interned, Class::under(text)))
}
