//! lifeboat-adapters
