//! State of quotas in shared memory: all processes of this machine and user see one state, without a server.
//!
//! - [`HostRegion`]: a named region, of which this process is a member
//! - [`SharedState`]: the state of one quota, plain data of a fixed size
//! - [`Slot`]: the place of a quota in the region
//! - `layout`: the numbers and places of the words in the file
//! - `ledger`: the ledger of `limits` as such a state
//! - `lock`: locks in shared memory whose owner can die
//! - `members`: joining, leaving, and freeing what dead members held
//! - `quotas`: the table of quotas
//!
//! A region is a file in the system's directory for shared memory, `/dev/shm/ritellm.UID.NAME` with mode 0600. Nothing that
//! is read from it is trusted to be in its bounds. A process of the same user can still harm the others by writing to the
//! file at the wrong moment or cutting it off, as it could with a debugger.

mod error;
mod layout;
mod ledger;
mod lock;
mod members;
mod quotas;
mod region;
#[cfg(all(test, target_os = "linux"))]
mod tests;

pub use error::{AccessError, HostError};
pub use layout::{MEMBERS, QUOTAS};
pub use region::{HostRegion, SharedState, Slot};
