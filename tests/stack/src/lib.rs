//! lifeboat-stack
