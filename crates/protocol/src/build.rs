//! What a service states about its build. What can be read from its
//! executable is not repeated here.

use serde::{Deserialize, Serialize};

/// What the service states, and how its agent was built.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Build {
    /// The package of the service, if it states it.
    pub package: Option<Package>,
    /// Other facts that it states, in its order.
    pub facts: Vec<Fact>,
    /// The features of the `rtops-agent` package that are switched on.
    pub agent_features: Vec<String>,
}

/// A cargo package.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
}

/// A fact that only the service knows, such as the commit that it was built from.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Fact {
    /// The name of the fact.
    pub key: String,
    /// Its value.
    pub value: String,
}
