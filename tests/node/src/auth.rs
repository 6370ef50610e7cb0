//! Who asks, and may they: API keys, anonymous access, the admin list, and as much of RBAC as backups need.

use std::collections::BTreeMap;

use axum::http::{HeaderMap, Uri};
use serde_json::Value;

use crate::config::truthy;
use crate::errors::Refusal;
use crate::knobs::Knobs;

/// Authentication and authorisation as configured.
#[derive(Debug, Default)]
pub(crate) struct Auth {
    keys: Option<Vec<(String, String)>>,
    anonymous: bool,
    admin_list: Option<AdminList>,
    rbac: Option<Rbac>,
}

#[derive(Debug)]
struct AdminList {
    users: Vec<String>,
    read_only: Vec<String>,
}

#[derive(Debug)]
struct Rbac {
    root: Vec<String>,
    grants: BTreeMap<String, Vec<String>>,
}

/// Who asks; `None` inside is anonymous.
#[derive(Debug, Clone)]
pub(crate) struct User(pub(crate) Option<String>);

impl User {
    /// The name that refusals print.
    pub(crate) fn name(&self) -> &str {
        self.0.as_deref().unwrap_or("anonymous")
    }
}

impl Auth {
    /// Reads the `AUTHENTICATION_*` and `AUTHORIZATION_*` variables, and the keys of the configuration file.
    pub(crate) fn read(env: &BTreeMap<String, String>, file: &Value, knobs: &Knobs) -> Result<Self, String> {
        let on = |name: &str| env.get(name).is_some_and(|value| truthy(value));
        let list = |name: &str| -> Vec<String> {
            env.get(name)
                .filter(|value| !value.is_empty())
                .map(|value| value.split(',').map(|item| item.trim().to_owned()).collect())
                .unwrap_or_default()
        };
        for unplayed in ["AUTHENTICATION_OIDC_ENABLED", "AUTHENTICATION_DB_USERS_ENABLED"] {
            if on(unplayed) {
                return Err(format!("{unplayed} is not played by this double"));
            }
        }
        let in_file = &file["authentication"]["apikey"];
        let from_file = |name: &str| strings(&in_file[name]);
        let prefer = |env_list: Vec<String>, name: &str| if env_list.is_empty() { from_file(name) } else { env_list };
        let keys = if on("AUTHENTICATION_APIKEY_ENABLED") || in_file["enabled"] == Value::Bool(true) {
            let keys = prefer(list("AUTHENTICATION_APIKEY_ALLOWED_KEYS"), "allowed_keys");
            let users = prefer(list("AUTHENTICATION_APIKEY_USERS"), "users");
            Some(pair(keys, &users)?)
        } else {
            None
        };
        let anonymous = match env.get("AUTHENTICATION_ANONYMOUS_ACCESS_ENABLED") {
            Some(value) if truthy(value) => true,
            Some(_) | None => keys.is_none(),
        };
        let listed = &file["authorization"]["admin_list"];
        let admin_list = (on("AUTHORIZATION_ADMINLIST_ENABLED") || listed["enabled"] == Value::Bool(true)).then(|| {
            let prefer = |names: Vec<String>, name: &str| if names.is_empty() { strings(&listed[name]) } else { names };
            AdminList {
                users: prefer(list("AUTHORIZATION_ADMINLIST_USERS"), "users"),
                read_only: prefer(list("AUTHORIZATION_ADMINLIST_READONLY_USERS"), "read_only_users"),
            }
        });
        let rbac = (on("AUTHORIZATION_RBAC_ENABLED") || on("AUTHORIZATION_ENABLE_RBAC"))
            .then(|| Rbac { root: list("AUTHORIZATION_RBAC_ROOT_USERS"), grants: knobs.rbac_grants.clone() });
        if admin_list.is_some() && rbac.is_some() {
            return Err("configuration: authorization: cannot enable adminlist and rbac at the same time".to_owned());
        }
        Ok(Self { keys, anonymous, admin_list, rbac })
    }

    /// Who sends this request, or the 401 it gets.
    pub(crate) fn user(&self, headers: &HeaderMap, uri: &Uri) -> Result<User, Refusal> {
        let bearer = headers
            .get("authorization")
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.strip_prefix("Bearer "))
            .map(str::to_owned)
            .or_else(|| uri.query()?.split('&').find_map(|pair| pair.strip_prefix("access_token=")).map(str::to_owned));
        match (bearer, &self.keys) {
            (None, _) if self.anonymous => Ok(User(None)),
            (None, _) => Err(Refusal::framework(
                401,
                "anonymous access not enabled. Please authenticate through one of the available methods: [API-keys]",
            )),
            (Some(_), None) => Err(Refusal::framework(
                401,
                "no authentication scheme is configured (API Key or OIDC), but an 'Authorization' header was provided. Please configure an auth scheme or remove the header for anonymous access",
            )),
            (Some(key), Some(keys)) => match keys.iter().find(|(allowed, _)| *allowed == key) {
                Some((_, user)) => Ok(User(Some(user.clone()))),
                None => Err(Refusal::framework(401, "unauthorized: invalid api key")),
            },
        }
    }

    /// Whether `user` may do `verb` (C, R, U or D) on `resources`. RBAC is played for backups only.
    pub(crate) fn allow(&self, user: &User, verb: char, resources: &[String]) -> Result<(), Refusal> {
        let Some(list) = &self.admin_list else { return Ok(()) };
        let name = user.name();
        let is = |users: &[String]| users.iter().any(|listed| listed == name);
        if is(&list.users) || (verb == 'R' && is(&list.read_only)) {
            return Ok(());
        }
        Err(Refusal::forbidden(format!("adminlist: {}", forbidden(name, verb, resources))))
    }

    /// Whether `user` may do `verb` on the backups of all these classes. No class means every class.
    pub(crate) fn allow_backups(&self, user: &User, verb: char, classes: &[String]) -> Result<(), Refusal> {
        self.allow(user, verb, &backup_resources(classes))?;
        let Some(rbac) = &self.rbac else { return Ok(()) };
        let name = user.name();
        if rbac.root.iter().any(|root| root == name) {
            return Ok(());
        }
        let granted = rbac.grants.get(name);
        let may = |class: &str| granted.is_some_and(|list| list.iter().any(|item| item == "*" || item == class));
        let refused = if classes.is_empty() { !may("*") } else { !classes.iter().all(|class| may(class)) };
        if !refused {
            return Ok(());
        }
        let action = match verb {
            'C' => "create_backups",
            'R' => "read_backups",
            'D' => "delete_backups",
            _ => "update_backups",
        };
        let first = classes.iter().find(|class| !may(class)).map_or("*", String::as_str);
        Err(Refusal::forbidden(format!(
            "rbac: authorization, forbidden action: user '{name}' has insufficient permissions to {action} [[Domain: backups,Collection: {first}]]"
        )))
    }

    /// The classes of which `user` may make (or restore) backups; refused when none is left.
    pub(crate) fn narrow(&self, user: &User, verb: char, classes: Vec<String>) -> Result<Vec<String>, Refusal> {
        let allowed: Vec<String> = classes
            .iter()
            .filter(|class| self.allow_backups(user, verb, std::slice::from_ref(class)).is_ok())
            .cloned()
            .collect();
        if allowed.is_empty() {
            return Err(Refusal::forbidden(forbidden(user.name(), verb, &backup_resources(&classes))));
        }
        Ok(allowed)
    }

    /// Whether there are roles that a backup could hold.
    pub(crate) fn has_rbac(&self) -> bool {
        self.rbac.is_some()
    }

    /// Root users see the base of an incremental backup; nobody is root without RBAC.
    pub(crate) fn is_root(&self, user: &User) -> bool {
        self.rbac.as_ref().is_some_and(|rbac| rbac.root.iter().any(|root| root == user.name()))
    }
}

fn strings(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn forbidden(name: &str, verb: char, resources: &[String]) -> String {
    format!(
        "authorization, forbidden action: user '{name}' has insufficient permissions to {verb} [{}]",
        resources.join(" ")
    )
}

fn backup_resources(classes: &[String]) -> Vec<String> {
    if classes.is_empty() {
        return vec!["backups/collections/*".to_owned()];
    }
    classes.iter().map(|class| format!("backups/collections/{class}")).collect()
}

fn pair(keys: Vec<String>, users: &[String]) -> Result<Vec<(String, String)>, String> {
    if keys.is_empty() {
        return Err(
            "apikey client could not start up: invalid apikey config: need at least one valid allowed key".to_owned()
        );
    }
    match users {
        [] => Err("invalid apikey config: need at least one user".to_owned()),
        [one] => Ok(keys.into_iter().map(|key| (key, one.clone())).collect()),
        many if many.len() == keys.len() => Ok(keys.into_iter().zip(many.iter().cloned()).collect()),
        many => Err(format!(
            "invalid apikey config: length of users and keys must match, alternatively provide single user for all keys (keys={}, users={})",
            keys.len(),
            many.len()
        )),
    }
}
