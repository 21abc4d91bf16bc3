//! Credentials that lie in files, are printed by programs, or are handed out by other servers.
//!
//! - `cache`: what was found, for as long as it is good; one search at a time.
//! - `aws`: AWS's chain: profiles, roles, containers, instances.
//! - `google`: Google's application-default credentials.
//! - `ask`: files, programs and servers, without holding up the network's thread.
//!
//! A provider says what it wants in [`types::credentials`](crate::types::credentials), and `client` asks here before it
//! encodes the call. Calls with a key never come here.

mod ask;
mod aws;
mod cache;
mod google;

use std::sync::Arc;
use std::time::SystemTime;

use crate::error::Result;
use crate::transport::{ConnectionStats, Transport};
use crate::types::credentials::{Credentials, Kind, Wanted};
use ask::Ask;
use cache::Cache;

/// One client's credentials.
#[derive(Default)]
pub struct Keyring {
    cache: Cache,
}

impl Keyring {
    /// The credentials that are wanted: those that are at hand, or found now.
    pub async fn find(
        &self,
        transport: &Transport,
        connection_stats: &Arc<ConnectionStats>,
        wanted: &Arc<Wanted>,
        allow_http: bool,
    ) -> Result<Credentials> {
        let ask = Ask { transport, connection_stats, wanted, allow_http };
        let search = async {
            match wanted.kind {
                Kind::Aws | Kind::AwsRegion => aws::find(&ask).await,
                Kind::Google => google::find(&ask).await,
            }
        };
        self.cache.get(wanted, SystemTime::now, search).await
    }
}
