//! AWS's credential chain, without its first steps: arguments and keys in the environment are read by the provider
//! itself.
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
use super::cache::{Found, Validity};
use super::context::{Context, secret, time, unauthenticated};
use crate::error::Result;
use crate::types::credentials::{Aws, AwsKeys, Credentials, Kind};

/// Keys and their validity.
#[derive(Debug)]
struct Issued {
    keys: AwsKeys,
    validity: Validity,
}

/// Looks up the profile's region, and the keys unless the provider has them.
///
/// # Errors
///
/// Returns an error if no step of the chain has keys, or a step that is configured fails.
pub(super) async fn find(context: &Context<'_>) -> Result<Found> {
    let config = context.path(context.input("AWS_CONFIG_FILE").unwrap_or("~/.aws/config"));
    let credentials = context.path(context.input("AWS_SHARED_CREDENTIALS_FILE").unwrap_or("~/.aws/credentials"));
    let config = context.file(&config).await?.unwrap_or_default();
    let credentials = context.file(&credentials).await?.unwrap_or_default();
    let chain = Chain::new(context, Profiles::parse(&config, &credentials));
    let region = chain.region.clone();
    let (keys, validity) = match context.source.kind {
        Kind::AwsRegion => (None, Validity::AsFile),
        _ => chain.keys().await.map(|issued| (Some(issued.keys), issued.validity))?,
    };
    Ok(Found { credentials: Credentials::Aws(Arc::new(Aws { keys, region })), validity })
}

/// The steps of the credential chain, with the selected profile.
struct Chain<'a> {
    context: &'a Context<'a>,
    profiles: Profiles,
    /// Name of the selected profile; `default` if none is selected.
    profile: &'a str,
    /// Region of the call, or else of the profile.
    region: Option<String>,
}

impl<'a> Chain<'a> {
    fn new(context: &'a Context<'a>, profiles: Profiles) -> Self {
        let selected = selected_profile(context);
        let profile = selected.unwrap_or("default");
        let of_profile = || profiles.get(profile)?.get("region").filter(|region| !region.is_empty()).cloned();
        let region = context.input("aws_region_name").map(str::to_owned).or_else(of_profile);
        Self { context, profiles, profile, region }
    }

    async fn keys(&self) -> Result<Issued> {
        let first = self.first().await?;
        let Some(arn) = self.context.input("aws_role_name") else { return Ok(first) };
        let (session_name, external_id) =
            (self.context.input("aws_session_name"), self.context.input("aws_external_id"));
        self.assume(&Role { arn, session_name, external_id, duration_seconds: None }, &first.keys).await
    }

    /// Returns the keys of the first step of the chain that has any.
    async fn first(&self) -> Result<Issued> {
        let input = |name| self.context.input(name);
        // The call's own keys, with which a role is to be assumed.
        if let (Some(id), Some(secret)) = (input("aws_access_key_id"), input("aws_secret_access_key")) {
            return Ok(Issued { keys: keys(id, secret, input("aws_session_token")), validity: Validity::Forever });
        }
        if self.profiles.get(self.profile).is_none() && selected_profile(self.context).is_some() {
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
        if let Some(issued) = metadata::container(self.context).await? {
            return Ok(issued);
        }
        if let Some(issued) = metadata::instance(self.context).await? {
            return Ok(issued);
        }
        Err(unauthenticated(format!(
            "no credentials for AWS: the profile {:?} has none, and there is no web identity, no container's agent and no instance \
             with a role; pass aws_access_key_id= and aws_secret_access_key=, aws_profile_name=, or api_key=, or set \
             AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or AWS_BEARER_TOKEN_BEDROCK",
            self.profile
        )))
    }

    /// Returns the keys of the role that the profile names, following a chain of source profiles.
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
            // A source profile with keys of its own ends the chain, even if it names a role.
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
                    unauthenticated(format!("the profile {name:?}, the source of another, has no credentials"))
                })?;
            };
            if setting("mfa_serial").is_some() {
                return Err(unauthenticated(format!(
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
                    break own.ok_or_else(|| {
                        unauthenticated(format!("the profile {name:?} is its own source and has no keys"))
                    })?;
                }
                (Some(source), None) if seen.contains(&source) => {
                    return Err(unauthenticated(format!(
                        "the profiles {source:?} and {name:?} are each other's source"
                    )));
                }
                (Some(source), None) => {
                    seen.push(name);
                    name = source;
                }
                (None, Some(source)) => break self.of_source(name, source).await?,
                _ => {
                    return Err(unauthenticated(format!(
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

    /// Returns the keys of a `credential_source`.
    async fn of_source(&self, profile: &str, source: &str) -> Result<Issued> {
        let found = match source.to_ascii_lowercase().as_str() {
            "environment" => {
                let input = |name| self.context.input(name);
                let pair = input("AWS_ACCESS_KEY_ID").zip(input("AWS_SECRET_ACCESS_KEY"));
                pair.map(|(id, secret)| Issued {
                    keys: keys(id, secret, input("AWS_SESSION_TOKEN")),
                    validity: Validity::Forever,
                })
            }
            "ecscontainer" => metadata::container(self.context).await?,
            "ec2instancemetadata" => metadata::instance(self.context).await?,
            _ => {
                return Err(unauthenticated(format!(
                    "the profile {profile:?} has the credential_source {source:?}: Environment, EcsContainer and Ec2InstanceMetadata are known"
                )));
            }
        };
        found.ok_or_else(|| {
            unauthenticated(format!("the profile {profile:?} takes its keys from {source}, which has none"))
        })
    }

    /// Returns the keys of the role of a web identity: the profile's, or else the environment's.
    async fn web_identity(&self) -> Result<Option<Issued>> {
        if let Some(profile) = self.profiles.get(self.profile)
            && let Some(issued) = self.web_identity_of(profile).await?
        {
            return Ok(Some(issued));
        }
        // A profile that is named as an argument takes precedence over the environment.
        if self.context.input("aws_profile_name").is_some() {
            return Ok(None);
        }
        let input = |name| self.context.input(name);
        let Some(path) = input("AWS_WEB_IDENTITY_TOKEN_FILE") else { return Ok(None) };
        let arn = input("AWS_ROLE_ARN")
            .ok_or_else(|| unauthenticated("AWS_WEB_IDENTITY_TOKEN_FILE is set without AWS_ROLE_ARN"))?;
        let role = Role { arn, session_name: input("AWS_ROLE_SESSION_NAME"), ..Role::default() };
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
        sts::assume_role(self.context, self.region.as_deref(), role, caller).await
    }

    async fn assume_with_web_identity(&self, role: &Role<'_>, path: &str) -> Result<Issued> {
        let token = self.context.required_file(path, "the web identity's token").await?;
        sts::assume_role_with_web_identity(self.context, self.region.as_deref(), role, &token).await
    }

    /// Returns the profile's own keys, or those that its `credential_process` prints.
    async fn of_profile(&self, name: &str, profile: &Profile) -> Result<Option<Issued>> {
        if let Some(issued) = static_keys(profile) {
            return Ok(Some(issued));
        }
        if let Some(command) = profile.get("credential_process") {
            let words = profile::words(command).ok_or_else(|| {
                unauthenticated(format!("the credential_process of the profile {name:?} has a quote that does not end"))
            })?;
            return parse_process_output(&self.context.program(words).await?).map(Some);
        }
        let half = ["aws_access_key_id", "aws_secret_access_key"].into_iter().find(|name| profile.contains_key(*name));
        if let Some(half) = half {
            return Err(unauthenticated(format!(
                "the profile {name:?} has {half} and lacks the other half of the pair"
            )));
        }
        if profile.keys().any(|setting| setting.starts_with("sso_")) || profile.contains_key("login_session") {
            return Err(unauthenticated(format!(
                "the profile {name:?} signs in through a browser (SSO), which is not done here: write `credential_process = \
                 aws configure export-credentials --profile {name} --format process` into another profile, and use that one"
            )));
        }
        Ok(None)
    }

    fn no_such_profile(&self, name: &str) -> Box<crate::error::Error> {
        let file =
            |variable, usual| self.context.path(self.context.input(variable).unwrap_or(usual)).display().to_string();
        unauthenticated(format!(
            "there is no AWS profile {name:?}, neither in {} nor in {}",
            file("AWS_CONFIG_FILE", "~/.aws/config"),
            file("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials")
        ))
    }
}

/// Returns the name of the profile that an argument or variable selects.
fn selected_profile<'a>(context: &Context<'a>) -> Option<&'a str> {
    ["aws_profile_name", "AWS_DEFAULT_PROFILE", "AWS_PROFILE"].into_iter().find_map(|name| context.input(name))
}

fn keys(id: &str, secret_key: &str, token: Option<&str>) -> AwsKeys {
    AwsKeys {
        access_key_id: id.to_owned(),
        secret_access_key: secret(secret_key),
        session_token: token.filter(|token| !token.is_empty()).map(secret),
    }
}

/// Returns the keys that are written in a profile.
fn static_keys(profile: &Profile) -> Option<Issued> {
    let setting = |name: &str| profile.get(name).map(String::as_str).filter(|value| !value.is_empty());
    let token = setting("aws_session_token").or(setting("aws_security_token"));
    let keys = keys(setting("aws_access_key_id")?, setting("aws_secret_access_key")?, token);
    Some(Issued { keys, validity: Validity::AsFile })
}

/// Parses the output of a `credential_process`:
/// <https://docs.aws.amazon.com/sdkref/latest/guide/feature-process-credentials.html>.
fn parse_process_output(output: &[u8]) -> Result<Issued> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Printed {
        version: u32,
        access_key_id: String,
        secret_access_key: String,
        session_token: Option<String>,
        expiration: Option<String>,
    }
    // The parser's error is not shown, since it could repeat a part of the output.
    let printed: Printed = serde_json::from_slice(output).map_err(|_| {
        unauthenticated("credential_process printed something else than a JSON object with Version, AccessKeyId and SecretAccessKey")
    })?;
    if printed.version != 1 {
        return Err(unauthenticated(format!("credential_process printed version {}, and 1 is known", printed.version)));
    }
    let validity = match &printed.expiration {
        None => Validity::Forever,
        Some(text) => Validity::Until(
            time(text).ok_or_else(|| unauthenticated("credential_process printed an Expiration that is no time"))?,
        ),
    };
    let keys = keys(&printed.access_key_id, &printed.secret_access_key, printed.session_token.as_deref());
    Ok(Issued { keys, validity })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_program_prints_is_read() {
        let good = br#"{"Version": 1, "AccessKeyId": "A", "SecretAccessKey": "S", "SessionToken": "T", "Expiration": "2030-01-01T00:00:00Z"}"#;
        let issued = parse_process_output(good).unwrap();
        assert_eq!(issued.keys, keys("A", "S", Some("T")));
        assert!(matches!(issued.validity, Validity::Until(_)));
        assert_eq!(
            parse_process_output(br#"{"Version": 1, "AccessKeyId": "A", "SecretAccessKey": "S"}"#).unwrap().validity,
            Validity::Forever
        );
        let bad: [&[u8]; 4] = [
            b"",
            b"sesame",
            br#"{"Version": 2, "AccessKeyId": "A", "SecretAccessKey": "sesame"}"#,
            br#"{"Version": 1, "AccessKeyId": "sesame"}"#,
        ];
        for output in bad {
            assert!(!parse_process_output(output).unwrap_err().message.contains("sesame"));
        }
        assert!(!format!("{issued:?}").contains("\"S\""));
    }
}
