//! Credentials that only files, programs or other servers can tell: what is wanted, and what was found.
//!
//! A provider does no I/O. It says which kind it wants, the call's arguments and environment are gathered into a
//! [`Wanted`], the room `credentials` turns that into what it stands for, and the provider finds it in the deployment.

use std::sync::Arc;

use super::secret::Secret;

/// Where a call's credentials stand.
#[derive(Debug, Clone, Default)]
pub enum Credentials {
    /// The key and the settings say everything.
    #[default]
    Given,
    /// They are still to be found.
    Wanted(Arc<Wanted>),
    /// Keys that sign requests.
    Aws(Arc<Aws>),
    /// A token that is sent along.
    Google(Arc<Google>),
}

impl Credentials {
    /// Everything in them that nobody may see.
    pub fn secrets(&self) -> impl Iterator<Item = &Secret> {
        let (aws, google) = match self {
            Self::Aws(aws) => (aws.keys.as_ref(), None),
            Self::Google(google) => (None, Some(&google.token)),
            Self::Given | Self::Wanted(_) => (None, None),
        };
        aws.into_iter()
            .flat_map(|keys| std::iter::once(&keys.secret_access_key).chain(&keys.session_token))
            .chain(google)
    }
}

/// Whose credentials are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// AWS's keys, and the region if no one has said it.
    Aws,
    /// The region alone, from AWS's profile files: the keys are known.
    AwsRegion,
    /// An access token of Google Cloud.
    Google,
}

impl Kind {
    /// The environment variables that say where to look.
    ///
    /// They are read together with everything else of a call, on the caller's thread: reading the environment on
    /// another thread while Python changes it is a data race.
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
                // What `credential_source = Environment` in a profile means.
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

/// Credentials that are to be found, and all that says where. Two that are equal stand for the same credentials.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Wanted {
    /// Whose.
    pub kind: Kind,
    /// Arguments and environment variables, by name.
    told: Vec<(&'static str, Secret)>,
}

impl Wanted {
    /// Credentials of this kind; `told` are the arguments and environment variables that say where they are.
    pub fn new(kind: Kind, told: Vec<(&'static str, Secret)>) -> Self {
        Self { kind, told }
    }

    /// What the argument or environment variable of this name says, if it says anything.
    pub fn told(&self, name: &str) -> Option<&str> {
        self.told.iter().find(|(known, _)| *known == name).map(|(_, value)| value.expose())
    }
}

impl std::fmt::Debug for Wanted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<&str> = self.told.iter().map(|(name, _)| *name).collect();
        f.debug_struct("Wanted").field("kind", &self.kind).field("told", &names).finish()
    }
}

/// What AWS's chain of credentials says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Aws {
    /// Keys that sign requests, where they were wanted.
    pub keys: Option<AwsKeys>,
    /// The profile's region.
    pub region: Option<String>,
}

/// Keys that sign requests to AWS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AwsKeys {
    /// Which key; not secret.
    pub access_key_id: String,
    /// The key itself.
    pub secret_access_key: Secret,
    /// What goes with keys that were issued for a while.
    pub session_token: Option<Secret>,
}

/// What Google's application-default credentials say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Google {
    /// An access token.
    pub token: Secret,
    /// The project that the credentials belong to.
    pub project: Option<String>,
    /// The project that pays, where that is another's matter than the one that is called.
    pub quota_project: Option<String>,
}
