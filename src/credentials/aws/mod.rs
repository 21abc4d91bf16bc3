//! AWS's chain of credentials, after the arguments and keys in the environment, which the provider knows itself.
//!
//! The order is botocore's: a profile's role, a web identity, the profile's own keys or program, the container, the
//! instance. <https://docs.aws.amazon.com/boto3/latest/guide/credentials.html>,
//! <https://docs.aws.amazon.com/sdkref/latest/guide/standardized-credentials.html>
//!
//! - `profile`: the shared files; `sts`: roles; `metadata`: containers and instances.

mod metadata;
mod profile;
mod sts;

use std::sync::Arc;

use serde::Deserialize;

use self::profile::{Profile, Profiles};
use self::sts::Role;
use super::ask::{Ask, refused, secret, time};
use super::cache::{Found, Lasting};
use crate::error::Result;
use crate::types::credentials::{Aws, AwsKeys, Credentials, Kind};

/// Keys, and for how long they are good.
#[derive(Debug)]
struct Issued {
    keys: AwsKeys,
    lasting: Lasting,
}

/// The profile's region, and the keys if they are wanted.
pub(super) async fn find(ask: &Ask<'_>) -> Result<Found> {
    let config = ask.path(ask.told("AWS_CONFIG_FILE").unwrap_or("~/.aws/config"));
    let credentials = ask.path(ask.told("AWS_SHARED_CREDENTIALS_FILE").unwrap_or("~/.aws/credentials"));
    let config = ask.file(&config).await?.unwrap_or_default();
    let credentials = ask.file(&credentials).await?.unwrap_or_default();
    let chain = Chain::new(ask, Profiles::parse(&config, &credentials));
    let region = chain.region.clone();
    let (keys, lasting) = match ask.wanted.kind {
        Kind::AwsRegion => (None, Lasting::AsFile),
        _ => chain.keys().await.map(|issued| (Some(issued.keys), issued.lasting))?,
    };
    Ok(Found { credentials: Credentials::Aws(Arc::new(Aws { keys, region })), lasting })
}

struct Chain<'a> {
    ask: &'a Ask<'a>,
    profiles: Profiles,
    /// The profile that is asked for, or that there is when none is.
    profile: &'a str,
    /// The call's region, or the profile's.
    region: Option<String>,
}

impl<'a> Chain<'a> {
    fn new(ask: &'a Ask<'a>, profiles: Profiles) -> Self {
        let asked_for = asked_for(ask);
        let profile = asked_for.unwrap_or("default");
        let of_profile = || profiles.get(profile)?.get("region").filter(|region| !region.is_empty()).cloned();
        let region = ask.told("aws_region_name").map(str::to_owned).or_else(of_profile);
        Self { ask, profiles, profile, region }
    }

    async fn keys(&self) -> Result<Issued> {
        let first = self.first().await?;
        let Some(arn) = self.ask.told("aws_role_name") else { return Ok(first) };
        let (session_name, external_id) = (self.ask.told("aws_session_name"), self.ask.told("aws_external_id"));
        self.assume(&Role { arn, session_name, external_id, duration_seconds: None }, &first.keys).await
    }

    /// The first of the chain that has keys.
    async fn first(&self) -> Result<Issued> {
        let told = |name| self.ask.told(name);
        // Keys of the call, which a role is to be assumed with.
        if let (Some(id), Some(secret)) = (told("aws_access_key_id"), told("aws_secret_access_key")) {
            return Ok(Issued { keys: keys(id, secret, told("aws_session_token")), lasting: Lasting::Forever });
        }
        if self.profiles.get(self.profile).is_none() && asked_for(self.ask).is_some() {
            return Err(self.no_such_profile(self.profile));
        }
        if let Some(issued) = self.role_of_profile().await? {
            return Ok(issued);
        }
        if let Some(issued) = self.web_identity().await? {
            return Ok(issued);
        }
        if let Some(profile) = self.profiles.get(self.profile)
            && let Some(issued) = self.of_profile(self.profile, profile).await?
        {
            return Ok(issued);
        }
        if let Some(issued) = metadata::container(self.ask).await? {
            return Ok(issued);
        }
        if let Some(issued) = metadata::instance(self.ask).await? {
            return Ok(issued);
        }
        Err(refused(format!(
            "no credentials for AWS: the profile {:?} has none, and there is no web identity, no container's agent and no instance \
             with a role; pass aws_access_key_id= and aws_secret_access_key=, aws_profile_name=, or api_key=, or set \
             AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or AWS_BEARER_TOKEN_BEDROCK",
            self.profile
        )))
    }

    /// The keys of the role that the profile names, which may lead over several profiles.
    async fn role_of_profile(&self) -> Result<Option<Issued>> {
        let mut roles = Vec::new();
        let mut seen = Vec::new();
        let mut name = self.profile;
        let mut issued = loop {
            let profile = match self.profiles.get(name) {
                Some(profile) => profile,
                None if roles.is_empty() => return Ok(None),
                None => return Err(self.no_such_profile(name)),
            };
            let setting = |name: &str| profile.get(name).map(String::as_str).filter(|value| !value.is_empty());
            let role = setting("role_arn").filter(|_| setting("web_identity_token_file").is_none());
            // A profile that is the source of another one's role is asked for its keys first.
            let role = role.filter(|_| roles.is_empty() || static_keys(profile).is_none());
            let Some(arn) = role else {
                if roles.is_empty() {
                    return Ok(None);
                }
                let of_role = self.web_identity_of(profile).await?;
                let of_profile = match of_role {
                    None => self.of_profile(name, profile).await?,
                    found => found,
                };
                break of_profile.ok_or_else(|| {
                    refused(format!("the profile {name:?}, the source of another, has no credentials"))
                })?;
            };
            if setting("mfa_serial").is_some() {
                return Err(refused(format!(
                    "the profile {name:?} wants a code of a second factor, which nobody can be asked for here: use keys that it has \
                     been given already (`aws configure export-credentials --profile {name}`)"
                )));
            }
            roles.push(Role {
                arn,
                session_name: setting("role_session_name"),
                external_id: setting("external_id"),
                duration_seconds: setting("duration_seconds"),
            });
            match (setting("source_profile"), setting("credential_source")) {
                (Some(source), None) if source == name => {
                    let own = static_keys(profile);
                    break own
                        .ok_or_else(|| refused(format!("the profile {name:?} is its own source and has no keys")))?;
                }
                (Some(source), None) if seen.contains(&source) => {
                    return Err(refused(format!("the profiles {source:?} and {name:?} are each other's source")));
                }
                (Some(source), None) => {
                    seen.push(name);
                    name = source;
                }
                (None, Some(source)) => break self.of_source(name, source).await?,
                _ => {
                    return Err(refused(format!(
                        "the profile {name:?} has a role_arn and needs either source_profile or credential_source"
                    )));
                }
            }
        };
        for role in roles.iter().rev() {
            issued = self.assume(role, &issued.keys).await?;
        }
        Ok(Some(issued))
    }

    /// The keys of what `credential_source` names.
    async fn of_source(&self, profile: &str, source: &str) -> Result<Issued> {
        let found = match source.to_ascii_lowercase().as_str() {
            "environment" => {
                let told = |name| self.ask.told(name);
                let pair = told("AWS_ACCESS_KEY_ID").zip(told("AWS_SECRET_ACCESS_KEY"));
                pair.map(|(id, secret)| Issued {
                    keys: keys(id, secret, told("AWS_SESSION_TOKEN")),
                    lasting: Lasting::Forever,
                })
            }
            "ecscontainer" => metadata::container(self.ask).await?,
            "ec2instancemetadata" => metadata::instance(self.ask).await?,
            _ => {
                return Err(refused(format!(
                    "the profile {profile:?} has the credential_source {source:?}: Environment, EcsContainer and Ec2InstanceMetadata are known"
                )));
            }
        };
        found.ok_or_else(|| refused(format!("the profile {profile:?} takes its keys from {source}, which has none")))
    }

    /// The keys of the role that a web identity stands for: the profile's, or the environment's.
    async fn web_identity(&self) -> Result<Option<Issued>> {
        if let Some(profile) = self.profiles.get(self.profile)
            && let Some(issued) = self.web_identity_of(profile).await?
        {
            return Ok(Some(issued));
        }
        // A profile that is an argument is not outvoted by the environment.
        if self.ask.told("aws_profile_name").is_some() {
            return Ok(None);
        }
        let told = |name| self.ask.told(name);
        let Some(path) = told("AWS_WEB_IDENTITY_TOKEN_FILE") else { return Ok(None) };
        let arn =
            told("AWS_ROLE_ARN").ok_or_else(|| refused("AWS_WEB_IDENTITY_TOKEN_FILE is set without AWS_ROLE_ARN"))?;
        let role = Role { arn, session_name: told("AWS_ROLE_SESSION_NAME"), ..Role::default() };
        self.assume_with_web_identity(&role, path).await.map(Some)
    }

    async fn web_identity_of(&self, profile: &Profile) -> Result<Option<Issued>> {
        let (Some(path), Some(arn)) = (profile.get("web_identity_token_file"), profile.get("role_arn")) else {
            return Ok(None);
        };
        let session_name = profile.get("role_session_name").map(String::as_str);
        self.assume_with_web_identity(&Role { arn, session_name, ..Role::default() }, path).await.map(Some)
    }

    async fn assume(&self, role: &Role<'_>, caller: &AwsKeys) -> Result<Issued> {
        sts::assume_role(self.ask, self.region.as_deref(), role, caller).await
    }

    async fn assume_with_web_identity(&self, role: &Role<'_>, path: &str) -> Result<Issued> {
        let token = self.ask.required_file(path, "the web identity's token").await?;
        sts::assume_role_with_web_identity(self.ask, self.region.as_deref(), role, &token).await
    }

    /// A profile's own keys, or what its program prints.
    async fn of_profile(&self, name: &str, profile: &Profile) -> Result<Option<Issued>> {
        if let Some(issued) = static_keys(profile) {
            return Ok(Some(issued));
        }
        if let Some(command) = profile.get("credential_process") {
            let words = profile::words(command).ok_or_else(|| {
                refused(format!("the credential_process of the profile {name:?} has a quote that does not end"))
            })?;
            return printed(&self.ask.program(words).await?).map(Some);
        }
        let half = ["aws_access_key_id", "aws_secret_access_key"].into_iter().find(|name| profile.contains_key(*name));
        if let Some(half) = half {
            return Err(refused(format!("the profile {name:?} has {half} and lacks the other half of the pair")));
        }
        if profile.keys().any(|setting| setting.starts_with("sso_")) || profile.contains_key("login_session") {
            return Err(refused(format!(
                "the profile {name:?} signs in through a browser (SSO), which is not done here: write `credential_process = \
                 aws configure export-credentials --profile {name} --format process` into another profile, and use that one"
            )));
        }
        Ok(None)
    }

    fn no_such_profile(&self, name: &str) -> Box<crate::error::Error> {
        let file = |variable, usual| self.ask.path(self.ask.told(variable).unwrap_or(usual)).display().to_string();
        refused(format!(
            "there is no AWS profile {name:?}, neither in {} nor in {}",
            file("AWS_CONFIG_FILE", "~/.aws/config"),
            file("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials")
        ))
    }
}

/// The profile that somebody named.
fn asked_for<'a>(ask: &Ask<'a>) -> Option<&'a str> {
    ["aws_profile_name", "AWS_DEFAULT_PROFILE", "AWS_PROFILE"].into_iter().find_map(|name| ask.told(name))
}

fn keys(id: &str, secret_key: &str, token: Option<&str>) -> AwsKeys {
    AwsKeys {
        access_key_id: id.to_owned(),
        secret_access_key: secret(secret_key),
        session_token: token.filter(|token| !token.is_empty()).map(secret),
    }
}

/// The keys that stand in a profile.
fn static_keys(profile: &Profile) -> Option<Issued> {
    let setting = |name: &str| profile.get(name).map(String::as_str).filter(|value| !value.is_empty());
    let token = setting("aws_session_token").or(setting("aws_security_token"));
    let keys = keys(setting("aws_access_key_id")?, setting("aws_secret_access_key")?, token);
    Some(Issued { keys, lasting: Lasting::AsFile })
}

/// What a `credential_process` prints: <https://docs.aws.amazon.com/sdkref/latest/guide/feature-process-credentials.html>.
fn printed(output: &[u8]) -> Result<Issued> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Printed {
        version: u32,
        access_key_id: String,
        secret_access_key: String,
        session_token: Option<String>,
        expiration: Option<String>,
    }
    // serde's own words might repeat a part of what was printed.
    let printed: Printed = serde_json::from_slice(output).map_err(|_| {
        refused("credential_process printed something else than a JSON object with Version, AccessKeyId and SecretAccessKey")
    })?;
    if printed.version != 1 {
        return Err(refused(format!("credential_process printed version {}, and 1 is known", printed.version)));
    }
    let lasting = match &printed.expiration {
        None => Lasting::Forever,
        Some(text) => Lasting::Until(
            time(text).ok_or_else(|| refused("credential_process printed an Expiration that is no time"))?,
        ),
    };
    let keys = keys(&printed.access_key_id, &printed.secret_access_key, printed.session_token.as_deref());
    Ok(Issued { keys, lasting })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_program_prints_is_read() {
        let good = br#"{"Version": 1, "AccessKeyId": "A", "SecretAccessKey": "S", "SessionToken": "T", "Expiration": "2030-01-01T00:00:00Z"}"#;
        let issued = printed(good).unwrap();
        assert_eq!(issued.keys, keys("A", "S", Some("T")));
        assert!(matches!(issued.lasting, Lasting::Until(_)));
        assert_eq!(
            printed(br#"{"Version": 1, "AccessKeyId": "A", "SecretAccessKey": "S"}"#).unwrap().lasting,
            Lasting::Forever
        );
        let bad: [&[u8]; 4] = [
            b"",
            b"sesame",
            br#"{"Version": 2, "AccessKeyId": "A", "SecretAccessKey": "sesame"}"#,
            br#"{"Version": 1, "AccessKeyId": "sesame"}"#,
        ];
        for output in bad {
            assert!(!printed(output).unwrap_err().message.contains("sesame"));
        }
        assert!(!format!("{issued:?}").contains("\"S\""));
    }
}
