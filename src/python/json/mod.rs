//! JSON ↔ Python objects.

pub(crate) mod accumulate;
pub(crate) mod classes;
pub(crate) mod decode;
pub(crate) mod encode;
pub(crate) mod escapes;
pub(crate) mod floats;
pub(crate) mod names;
pub(crate) mod template;
pub(crate) mod vectors;
