//! lifeboat-scenarios
