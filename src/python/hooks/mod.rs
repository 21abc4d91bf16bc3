//! Hooks: functions of the user's that get the record of each call after it.
//!
//! A call that has hooks takes along what they will want to know ([`observed`]). When it has ended ([`outcome`]), its record
//! ([`record`]) is handed to the functions ([`delivery`]) on the thread or event loop of its caller, in the context of the
//! call, after the caller has got the result. What has no caller goes to a thread of its own ([`background`]): the rows of
//! jobs, and streams that the garbage collector found.

pub(crate) mod background;
pub(crate) mod delivery;
pub(crate) mod list;
pub(crate) mod observed;
pub(crate) mod outcome;
pub(crate) mod record;
pub(crate) mod rows;
