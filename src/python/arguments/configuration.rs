//! What a client is configured with once: its providers, the aliases of models, and the parameters that calls begin with.

use std::collections::HashMap;
use std::sync::Arc;

use http::{HeaderName, HeaderValue};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyMapping, PyString};

use super::body::Argument;
use super::foreign::{self, Meaning};
use super::functions::{self, CallbackArgs};
use super::readers::{headers, str_of, text};
use super::withheld::{WITHHELD, not_pickled};
use crate::providers::{
    CustomProvider, DEFAULT_LIKE, Deployment, DeploymentArgs, Provider, custom, openai_parameters, provider_of,
    resolve, resolve_account, resolve_at,
};
use crate::python::errors::{argument, exception, wrong};
use crate::python::values;
use crate::types::nearest::nearest;
use crate::types::operation::{Operation, SPECS};
use crate::types::secret::Secret;

/// What a client was configured with.
#[derive(Default)]
pub(crate) struct Configuration {
    aliases: HashMap<String, Py<PyString>>,
    providers: HashMap<String, Entry>,
    /// Parameters that calls have unless they give their own.
    params: Vec<DefaultParam>,
}

/// A parameter that calls have unless they give their own.
struct DefaultParam {
    name: Py<PyString>,
    value: Py<PyAny>,
    /// Another name of the same: a call that gives it has given this one.
    other_name: Option<&'static str>,
    /// Operations whose calls have it.
    operations: Vec<Operation>,
}

/// Returns the operations that have a parameter. Those that only some provider has are parameters of chat.
fn operations_with(name: &str) -> Vec<Operation> {
    let all = SPECS.iter().map(|spec| spec.operation);
    let found: Vec<_> = all.filter(|operation| openai_parameters(*operation).any(|known| known == name)).collect();
    if found.is_empty() { vec![Operation::Chat] } else { found }
}

/// What a client knows of one provider.
#[derive(Default)]
struct Entry {
    args: DeploymentArgs,
    functions: CallbackArgs,
    headers: Vec<(HeaderName, HeaderValue)>,
    /// Environment variable with the key, instead of the provider's own.
    key_variable: Option<String>,
    /// The provider, if it is the user's own.
    provider: Option<&'static dyn Provider>,
    /// Names of the members that an unpickled client did not get back.
    withheld: Vec<String>,
}

/// Members of a provider's entry that are no setting of some provider.
const MEMBERS: &[&str] =
    &["api_key", "api_key_env", "api_version", "base_url", "headers", "like", "renamed_params", "unsupported_params"];

/// Destination of a call, as far as its arguments and those of its client say it.
pub(super) struct Destination<'a> {
    /// True if the operation has a model; all others have a provider.
    pub has_model: bool,
    pub args: &'a mut DeploymentArgs,
    pub functions: &'a mut CallbackArgs,
    /// Header fields.
    pub fields: &'a mut Vec<(HeaderName, HeaderValue)>,
    pub given: Given,
    /// Arguments of the client, with which those of the call begin.
    pub client: &'a DeploymentArgs,
    /// Header fields of the client.
    pub client_fields: &'a [(HeaderName, HeaderValue)],
}

/// Arguments of a deployment that its caller gave, which replace an entry's.
#[derive(Clone, Copy)]
pub(super) struct Given {
    pub base_url: bool,
    pub api_key: bool,
    pub api_version: bool,
}

impl Configuration {
    /// Reads `aliases`: a dict of names to models.
    pub fn read_aliases(&mut self, name: &str, value: &Bound<'_, PyAny>) -> PyResult<()> {
        let aliases = value.cast::<PyMapping>().map_err(|_| wrong(name, value, "a dict of names to models"))?;
        for pair in aliases.items()?.iter() {
            let (alias, model): (Bound<'_, PyAny>, Bound<'_, PyAny>) = pair.extract()?;
            let alias = text(&format!("a key of {name}"), &alias, "a name")?;
            text(&format!("{name}[{alias:?}]"), &model, "\"provider/model\"")?;
            self.aliases.insert(alias, model.cast_into::<PyString>()?.unbind());
        }
        Ok(())
    }

    /// Reads `defaults`: a dict of parameters. `is_setting` knows the names of a client's settings.
    pub fn read_defaults(
        &mut self,
        name: &str,
        value: &Bound<'_, PyAny>,
        is_setting: impl Fn(&str) -> bool,
    ) -> PyResult<()> {
        let py = value.py();
        let defaults = value.cast::<PyMapping>().map_err(|_| wrong(name, value, "a dict of parameters of calls"))?;
        for pair in defaults.items()?.iter() {
            let (param, value): (Bound<'_, PyAny>, Bound<'_, PyAny>) = pair.extract()?;
            str_of(&format!("a key of {name}"), &param, "a parameter's name")?;
            let param = param.cast_into::<PyString>()?;
            let key = param.to_str()?;
            let belongs = |instead: &str| Err(argument(py, format!("{name}[{key:?}] is no parameter: {instead}")));
            if is_setting(key) || foreign::is_ours(key) {
                return belongs("it is a setting of the client or an argument of a call");
            }
            if ["model", "messages", "input", "query", "documents", "file"].contains(&key) {
                return belongs("it is what each call is about");
            }
            match foreign::meaning(key, &value)? {
                Meaning::Param => {}
                Meaning::Unknown => foreign::check_unknown(Operation::Chat, key, false, &value)?,
                Meaning::Setting(_) => return belongs("give it in providers, as a member of its provider"),
                Meaning::Ours(ours) => return belongs(&format!("give it to the client as {ours}=")),
                Meaning::Nothing => continue,
            }
            if !value.is_none() {
                let other_name = match key {
                    "max_tokens" => Some("max_completion_tokens"),
                    "max_completion_tokens" => Some("max_tokens"),
                    _ => None,
                };
                let operations = operations_with(key);
                self.params.push(DefaultParam { name: param.unbind(), value: value.unbind(), other_name, operations });
            }
        }
        Ok(())
    }

    /// Reads `providers`: a dict of names to what is known of each.
    pub fn read_providers(&mut self, name: &str, value: &Bound<'_, PyAny>) -> PyResult<()> {
        let providers =
            value.cast::<PyMapping>().map_err(|_| wrong(name, value, "a dict of providers' names to dicts"))?;
        for pair in providers.items()?.iter() {
            let (provider, members): (Bound<'_, PyAny>, Bound<'_, PyAny>) = pair.extract()?;
            let provider = text(&format!("a key of {name}"), &provider, "a provider's name")?;
            let at = format!("{name}[{provider:?}]");
            let members = members.cast::<PyMapping>().map_err(|_| wrong(&at, &members, "a dict of its settings"))?;
            let entry = read_entry(&at, &provider, members)?;
            // LiteLLM's names of some providers are ours under another name.
            let known = crate::providers::lookup(&provider).map(|known| known.row().name.to_owned());
            self.providers.insert(known.unwrap_or(provider), entry);
        }
        Ok(())
    }

    /// Checks the parts against each other.
    pub fn check(&self, py: Python<'_>) -> PyResult<()> {
        for (alias, model) in &self.aliases {
            let model = model.to_str(py)?;
            let is_own = model.split_once('/').is_some_and(|(name, _)| self.providers.contains_key(name));
            if !is_own && let Err(mut error) = provider_of(model) {
                error.message = format!("aliases[{alias:?}]: {}", error.message);
                return Err(exception(py, error));
            }
        }
        Ok(())
    }

    /// Returns the model that an alias stands for.
    pub fn alias<'py>(&self, py: Python<'py>, model: &str) -> Option<Bound<'py, PyAny>> {
        self.aliases.get(model).map(|model| model.bind(py).clone().into_any())
    }

    /// Adds the parameters that a call has not given itself. One that is given as `None` is not sent.
    pub(super) fn add_params<'py>(
        &self,
        operation: Operation,
        given: &Bound<'py, PyDict>,
        add: &mut impl FnMut(Argument<'py>),
    ) -> PyResult<()> {
        let py = given.py();
        for param in self.params.iter().filter(|param| param.operations.contains(&operation)) {
            let name = param.name.bind(py);
            let is_given = match param.other_name {
                Some(other) => given.contains(name)? || given.contains(values::string(py, other)?)?,
                None => given.contains(name)?,
            };
            if !is_given {
                add((name.clone(), param.value.bind(py).clone()));
            }
        }
        Ok(())
    }

    /// Finds the deployment of a call. Its arguments are filled in from the entry of the model's provider, if there is one.
    ///
    /// # Errors
    ///
    /// As for `providers::resolve`.
    pub(super) fn find(&self, call: Destination<'_>, model: &str) -> crate::error::Result<Deployment> {
        let Destination { has_model, args, functions, fields, given, client, client_fields } = call;
        let Some((entry, provider, rest)) = self.entry(model, has_model)? else {
            return resolve_either(has_model, model, args);
        };
        // The client's own key, address and settings are not this provider's.
        args.settings.drain(..client.settings.len());
        functions.settings.retain(|(name, _)| args.settings.iter().any(|(known, _)| known == name));
        entry.fill(args, functions, given, provider.row().name)?;
        for (name, value) in &entry.headers {
            let known = fields.iter().position(|(known, _)| known == name);
            match known {
                Some(index) if !client_fields.contains(&fields[index]) => {}
                Some(index) => fields[index].1 = value.clone(),
                None => fields.push((name.clone(), value.clone())),
            }
        }
        resolve_at(provider, rest, args, &|name| std::env::var(name).ok())
    }

    /// Finds the deployment of a router's model. `args` and `functions` are what the router was given for it.
    pub(super) fn find_deployment(
        &self,
        py: Python<'_>,
        args: &mut DeploymentArgs,
        functions: &mut CallbackArgs,
        fields: &mut Vec<(HeaderName, HeaderValue)>,
        model: &str,
    ) -> PyResult<crate::error::Result<Deployment>> {
        let alias = self.alias(py, model);
        let model = match &alias {
            Some(model) => model.cast::<PyString>()?.to_str()?,
            None => model,
        };
        let found = self.entry(model, true);
        let (entry, provider, rest) = match found {
            Ok(Some(found)) => found,
            Ok(None) => return Ok(resolve_either(true, model, args)),
            Err(error) => return Ok(Err(error)),
        };
        let given = Given {
            base_url: args.base_url.is_some(),
            api_key: args.api_key.is_some(),
            api_version: args.api_version.is_some(),
        };
        if let Err(error) = entry.fill(args, functions, given, provider.row().name) {
            return Ok(Err(error));
        }
        for (name, value) in &entry.headers {
            if !fields.iter().any(|(known, _)| known == name) {
                fields.push((name.clone(), value.clone()));
            }
        }
        Ok(resolve_at(provider, rest, args, &|name| std::env::var(name).ok()))
    }

    /// Returns the entry of a model's provider, the provider, and the model's name there.
    fn entry<'a>(
        &self,
        model: &'a str,
        has_model: bool,
    ) -> crate::error::Result<Option<(&Entry, &'static dyn Provider, &'a str)>> {
        let (name, rest) = model.split_once('/').unwrap_or((model, ""));
        let own = |entry: &Entry| entry.provider;
        if let Some(entry) = self.providers.get(name)
            && let Some(provider) = own(entry)
            && (!has_model || !rest.is_empty())
        {
            return Ok(Some((entry, provider, if has_model { rest } else { "" })));
        }
        let (provider, rest) = match has_model {
            true => provider_of(model)?,
            false => match crate::providers::lookup(name) {
                Some(provider) => (provider, ""),
                None => return Ok(None),
            },
        };
        Ok(self.providers.get(provider.row().name).map(|entry| (entry, provider, rest)))
    }
}

fn resolve_either(has_model: bool, model: &str, args: &DeploymentArgs) -> crate::error::Result<Deployment> {
    let find = if has_model { resolve } else { resolve_account };
    find(model, args, &|name| std::env::var(name).ok())
}

impl Entry {
    /// Fills in what a deployment was not given. A key belongs to the entry's address: a call with an address of its own gets
    /// neither the key nor the settings.
    fn fill(
        &self,
        args: &mut DeploymentArgs,
        functions: &mut CallbackArgs,
        given: Given,
        provider: &str,
    ) -> crate::error::Result<()> {
        if !given.api_version {
            args.api_version.clone_from(&self.args.api_version);
        }
        if given.base_url {
            if !given.api_key {
                (args.api_key, functions.key) = (None, None);
            }
            return Ok(());
        }
        args.base_url.clone_from(&self.args.base_url);
        if !given.api_key && !self.withheld.is_empty() {
            let missing = format!("providers[{provider:?}][{:?}]", self.withheld.join("\"], [\""));
            return Err(crate::error::Error::argument(not_pickled(&missing)));
        }
        if !given.api_key {
            args.api_key.clone_from(&self.args.api_key);
            functions.key.clone_from(&self.functions.key);
            if let Some(variable) = &self.key_variable {
                let key = std::env::var(variable).ok().filter(|key| !key.is_empty()).ok_or_else(|| {
                    let message = format!("no key for {provider}: set {variable}, or pass api_key=");
                    crate::error::Error::new(crate::error::ErrorKind::Authentication, message)
                })?;
                args.api_key = Some(Secret::new(key));
            }
            let settings = self.args.settings.iter();
            let others: Vec<_> =
                settings.filter(|(name, _)| !args.settings.iter().any(|(known, _)| known == name)).cloned().collect();
            for (name, value) in others {
                let function = self.functions.settings.iter().find(|(known, _)| *known == name);
                functions.settings.extend(function.cloned());
                args.settings.push((name, value));
            }
        }
        Ok(())
    }
}

fn read_entry(at: &str, provider: &str, members: &Bound<'_, PyMapping>) -> PyResult<Entry> {
    let py = members.py();
    let mut entry = Entry::default();
    let mut own = CustomProvider {
        name: provider.to_owned(),
        like: DEFAULT_LIKE.to_owned(),
        base_url: String::new(),
        key_variable: None,
        renamed: Vec::new(),
        unsupported: Vec::new(),
    };
    let is_known = crate::providers::lookup(provider).is_some();
    for pair in members.items()?.iter() {
        let (name, value): (Bound<'_, PyAny>, Bound<'_, PyAny>) = pair.extract()?;
        let name = text(&format!("a key of {at}"), &name, "a setting's name")?;
        let of = format!("{at}[{name:?}]");
        if value.is_none() {
            continue;
        }
        if is_known && ["like", "renamed_params", "unsupported_params"].contains(&name.as_str()) {
            return Err(argument(py, format!("{of} is for hosts of your own: {provider} is known already")));
        }
        match name.as_str() {
            "api_key" => (entry.args.api_key, entry.functions.key) = functions::key(&of, &value)?,
            "api_key_env" => entry.key_variable = Some(text(&of, &value, "a variable's name")?),
            "base_url" | "api_base" => {
                entry.args.base_url = Some(text(&of, &value, "an address such as \"https://host/v1\"")?.into());
            }
            "api_version" => entry.args.api_version = Some(text(&of, &value, "the version's name")?),
            "headers" => entry.headers = headers(&of, &value)?,
            WITHHELD => entry.withheld = value.extract()?,
            "like" => own.like = text(&of, &value, "the name of a provider with OpenAI's format")?,
            "renamed_params" => {
                let renamed = value.cast::<PyMapping>().map_err(|_| wrong(&of, &value, "a dict of names to names"))?;
                for pair in renamed.items()?.iter() {
                    let (ours, theirs): (Bound<'_, PyAny>, Bound<'_, PyAny>) = pair.extract()?;
                    let ours = text(&format!("a key of {of}"), &ours, "a parameter's name")?;
                    let theirs = text(&format!("{of}[{ours:?}]"), &theirs, "the host's name of the parameter")?;
                    own.renamed.push((ours, theirs));
                }
            }
            "unsupported_params" => {
                let names = value.extract::<Vec<String>>();
                own.unsupported = names.map_err(|_| wrong(&of, &value, "a list of parameters' names"))?;
            }
            other => match foreign::meaning(other, &value) {
                Ok(Meaning::Setting(setting)) => {
                    let (given, function) = functions::secret_or_function(&of, &value)?;
                    entry.functions.settings.extend(function.map(|function| (setting, function)));
                    entry.args.settings.push((setting, given));
                }
                _ => {
                    let names = MEMBERS.iter().copied().chain(crate::providers::setting_names());
                    let near = nearest(other, names).map(|near| format!("; did you mean {near:?}?"));
                    return Err(argument(
                        py,
                        format!(
                            "{of} is no setting of a provider{}; parameters of calls go into defaults",
                            near.unwrap_or_default()
                        ),
                    ));
                }
            },
        }
    }
    if entry.key_variable.is_some() && entry.args.api_key.is_some() {
        return Err(argument(py, format!("{at} has both api_key and api_key_env: give one of them")));
    }
    if !is_known {
        own.base_url = entry.args.base_url.as_deref().unwrap_or_default().to_owned();
        if own.base_url.is_empty() {
            let names = crate::providers::all().map(|provider| provider.row().name);
            let near = nearest(provider, names).map(|near| format!("did you mean {near:?}? "));
            return Err(argument(
                py,
                format!("{at} is no known provider: {}a host of your own has a base_url", near.unwrap_or_default()),
            ));
        }
        own.key_variable.clone_from(&entry.key_variable);
        entry.provider = Some(custom(&own).map_err(|error| exception(py, error))?);
    }
    Ok(entry)
}

/// Reads a part of a client's configuration.
pub(super) fn part(configuration: &mut Option<Arc<Configuration>>) -> &mut Configuration {
    let shared = configuration.get_or_insert_with(Arc::default);
    Arc::get_mut(shared).expect("it is being read, and nobody else has it yet")
}
