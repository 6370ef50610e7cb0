//! The cases. A group is a module; a case is a sentence, a setting, and what it does and sees.

mod auth;
mod create;
mod damaged;
mod evidence;
mod flow;
mod layout;
mod modes;
mod restart;
mod restore;
mod status;
mod store_faults;
mod system;
mod tenants;

use anyhow::Result;
use futures::future::LocalBoxFuture;
use serde_json::Value;

use crate::world::{Setting, World};

/// What a case does.
pub(crate) type Run = for<'a> fn(&'a World) -> LocalBoxFuture<'a, Result<Value>>;

/// A case.
pub(crate) struct Case {
    pub(crate) group: &'static str,
    pub(crate) name: &'static str,
    pub(crate) setting: Setting,
    pub(crate) run: Run,
}

/// A case of an async function or closure of the world.
macro_rules! case {
    ($group:expr, $setting:ident, $name:literal, $run:expr) => {
        $crate::cases::Case {
            group: $group,
            name: $name,
            setting: $crate::world::Setting::$setting,
            run: |world| Box::pin($run(world)),
        }
    };
}
pub(crate) use case;

/// Every case, in the order in which they run within a setting.
pub(crate) fn all() -> Vec<Case> {
    let mut all = Vec::new();
    for group in [
        system::cases,
        create::cases,
        status::cases,
        flow::cases,
        store_faults::cases,
        restore::cases,
        damaged::cases,
        layout::cases,
        evidence::cases,
        tenants::cases,
        auth::cases,
        modes::cases,
        restart::cases,
    ] {
        all.extend(group());
    }
    all
}

/// The groups' names.
pub(crate) fn groups() -> Vec<&'static str> {
    let mut groups: Vec<&'static str> = all().into_iter().map(|case| case.group).collect();
    groups.sort_unstable();
    groups.dedup();
    groups
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    #[test]
    fn there_are_enough_cases_and_each_has_a_name_of_its_own() {
        let all = super::all();
        let names: BTreeSet<(&str, &str)> = all.iter().map(|case| (case.group, case.name)).collect();
        assert_eq!(names.len(), all.len(), "two cases of a group bear one name");
        assert!(all.len() >= 75, "{} cases", all.len());
    }
}
