//! Lookup of credentials in files, from programs, and from other servers.
//!
//! - `cache`: results until they expire; one lookup at a time.
//! - `aws`: AWS's credential chain: profiles, roles, containers, instances.
//! - `google`: Google's application-default credentials.
//! - `context`: access to files, programs and servers without blocking the network thread.
//!
//! A provider names the credentials that it needs in [`types::credentials`](crate::types::credentials), and `client`
//! looks them up here before it encodes the call. Calls with a key do not use this module.

mod aws;
mod cache;
mod context;
mod google;

use std::sync::Arc;
use std::time::SystemTime;

use crate::error::Result;
use crate::transport::{ConnectionStats, Transport};
use crate::types::credentials::{CredentialSource, Credentials, Kind};
use cache::Cache;
use context::Context;

/// The credentials of one client, cached by their source.
#[derive(Default)]
pub struct Keyring {
    cache: Cache,
}

impl Keyring {
    /// Returns the credentials of a source, from the cache or by a lookup.
    ///
    /// # Errors
    ///
    /// Returns an `Authentication` error if no credentials are found, and the error of the server that was asked if it
    /// refuses or cannot be reached.
    pub async fn find(
        &self,
        transport: &Transport,
        connection_stats: &Arc<ConnectionStats>,
        source: &Arc<CredentialSource>,
        allow_http: bool,
    ) -> Result<Credentials> {
        let context = Context { transport, connection_stats, source, allow_http };
        let search = async {
            match source.kind {
                Kind::Aws | Kind::AwsRegion => aws::find(&context).await,
                Kind::Google => google::find(&context).await,
            }
        };
        self.cache.get(source, SystemTime::now, search).await
    }
}
