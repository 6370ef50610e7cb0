//! That the twins are not kinder than what they stand for.

mod bucket;
mod contract;
mod crash;
mod group;
mod hosts;
mod nodes;
mod restores;
