//! Credentials that have to be looked up in files, from programs or from other servers: the lookup that is needed, and
//! its result.
//!
//! A provider does no I/O. It names the kind of credentials that it needs; the arguments and environment variables of
//! the call are collected into a [`CredentialSource`]; the module `credentials` resolves that; and the provider reads
//! the result from its deployment.

use std::sync::Arc;

use super::secret::Secret;

/// The credentials of a call.
#[derive(Debug, Clone, Default)]
pub enum Credentials {
    /// No lookup is needed: the call's key and settings are the credentials.
    #[default]
    Static,
    /// The credentials have yet to be looked up.
    Unresolved(Arc<CredentialSource>),
    /// AWS keys that sign requests.
    Aws(Arc<Aws>),
    /// A Google access token that is sent with each request.
    Google(Arc<Google>),
}

impl Credentials {
    /// Returns all secret parts of the credentials.
    pub fn secrets(&self) -> impl Iterator<Item = &Secret> {
        let (aws, google) = match self {
            Self::Aws(aws) => (aws.keys.as_ref(), None),
            Self::Google(google) => (None, Some(&google.token)),
            Self::Static | Self::Unresolved(_) => (None, None),
        };
        aws.into_iter()
            .flat_map(|keys| std::iter::once(&keys.secret_access_key).chain(&keys.session_token))
            .chain(google)
    }
}

/// Kind of credentials to look up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// AWS keys, and the region unless the call names one.
    Aws,
    /// The AWS region alone, from the profile files, where the keys are known.
    AwsRegion,
    /// An access token for Google Cloud.
    Google,
}

impl Kind {
    /// Returns the names of the environment variables that a lookup of this kind uses.
    ///
    /// The variables are read together with all other inputs of a call, on the caller's thread: reading the environment
    /// on another thread while Python modifies it is a data race.
    pub fn variables(self) -> &'static [&'static str] {
        match self {
            Self::Aws => &[
                "HOME",
                "USERPROFILE",
                "AWS_PROFILE",
                "AWS_DEFAULT_PROFILE",
                "AWS_CONFIG_FILE",
                "AWS_SHARED_CREDENTIALS_FILE",
                "AWS_WEB_IDENTITY_TOKEN_FILE",
                "AWS_ROLE_ARN",
                "AWS_ROLE_SESSION_NAME",
                "AWS_ENDPOINT_URL_STS",
                "AWS_ENDPOINT_URL",
                "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
                "AWS_CONTAINER_CREDENTIALS_FULL_URI",
                "AWS_CONTAINER_AUTHORIZATION_TOKEN",
                "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
                "AWS_EC2_METADATA_DISABLED",
                "AWS_EC2_METADATA_SERVICE_ENDPOINT",
                "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE",
                // Read for `credential_source = Environment` in a profile.
                "AWS_ACCESS_KEY_ID",
                "AWS_SECRET_ACCESS_KEY",
                "AWS_SESSION_TOKEN",
            ],
            Self::AwsRegion => &[
                "HOME",
                "USERPROFILE",
                "AWS_PROFILE",
                "AWS_DEFAULT_PROFILE",
                "AWS_CONFIG_FILE",
                "AWS_SHARED_CREDENTIALS_FILE",
            ],
            Self::Google => &[
                "HOME",
                "APPDATA",
                "CLOUDSDK_CONFIG",
                "GCE_METADATA_HOST",
                "NO_GCE_CHECK",
                "GOOGLE_CLOUD_QUOTA_PROJECT",
            ],
        }
    }
}

/// Inputs of a lookup of credentials. Equal sources resolve to the same credentials, so this is the key of their cache.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct CredentialSource {
    /// Kind of credentials to look up.
    pub kind: Kind,
    /// Arguments and environment variables, by name.
    inputs: Vec<(&'static str, Secret)>,
}

impl CredentialSource {
    /// Creates a source from the arguments and environment variables that determine the lookup.
    pub fn new(kind: Kind, inputs: Vec<(&'static str, Secret)>) -> Self {
        Self { kind, inputs }
    }

    /// Returns the value of an argument or environment variable, if it is set.
    pub fn input(&self, name: &str) -> Option<&str> {
        self.inputs.iter().find(|(known, _)| *known == name).map(|(_, value)| value.expose())
    }
}

impl std::fmt::Debug for CredentialSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<&str> = self.inputs.iter().map(|(name, _)| *name).collect();
        f.debug_struct("CredentialSource").field("kind", &self.kind).field("inputs", &names).finish()
    }
}

/// Result of AWS's credential chain.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Aws {
    /// Keys that sign requests, unless only the region was looked up.
    pub keys: Option<AwsKeys>,
    /// Region of the profile.
    pub region: Option<String>,
}

/// Keys that sign requests to AWS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AwsKeys {
    /// Identifier of the key; not secret.
    pub access_key_id: String,
    /// The secret key.
    pub secret_access_key: Secret,
    /// Session token of temporary keys.
    pub session_token: Option<Secret>,
}

/// Result of Google's application-default credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Google {
    /// An access token.
    pub token: Secret,
    /// The project that the credentials belong to.
    pub project: Option<String>,
    /// The project that is billed, if it differs from the one that is called.
    pub quota_project: Option<String>,
}
