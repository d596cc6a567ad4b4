//! What has to hold for any content of a user's file. Each module is one fuzz target: `check` takes
//! the content, and panics when something does not hold. The tests of the main crate feed the
//! corpus to the same functions.

pub mod base;
pub mod kubeconfig;
pub mod pem;
pub mod said;
pub mod split;
pub mod state;
pub mod topology;
