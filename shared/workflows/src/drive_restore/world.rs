//! The ports of drive-restore.

use crate::ports::{Addresses, Bucket, Clock, Deletes, Group, Hosts, Nodes};

/// What drive-restore needs of the world.
pub trait Ports: Sync {
    /// The cluster's bucket. Of deletes it uses one: what an earlier restore left is hidden behind a delete marker.
    type Bucket: Bucket + Deletes;
    /// The bucket of the success markers; may be the same.
    type Markers: Bucket;
    /// The Auto Scaling group.
    type Group: Group;
    /// Run Command.
    type Hosts: Hosts;
    /// Automation of the address.
    type Addresses: Addresses;
    /// Weaviate.
    type Nodes: Nodes;
    /// Time.
    type Clock: Clock;
    /// The cluster's bucket.
    fn bucket(&self) -> &Self::Bucket;
    /// The bucket of the success markers.
    fn markers(&self) -> &Self::Markers;
    /// The Auto Scaling group.
    fn group(&self) -> &Self::Group;
    /// Run Command.
    fn hosts(&self) -> &Self::Hosts;
    /// Automation of the address.
    fn addresses(&self) -> &Self::Addresses;
    /// Weaviate.
    fn nodes(&self) -> &Self::Nodes;
    /// Time.
    fn clock(&self) -> &Self::Clock;
}

/// The ports, given one by one.
#[derive(Debug, Clone)]
pub struct World<B, M, G, H, A, N, C> {
    /// The cluster's bucket.
    pub bucket: B,
    /// The bucket of the success markers; may be the same.
    pub markers: M,
    /// The Auto Scaling group.
    pub group: G,
    /// Run Command.
    pub hosts: H,
    /// Automation of the address.
    pub addresses: A,
    /// Weaviate.
    pub nodes: N,
    /// Time.
    pub clock: C,
}

impl<B: Bucket + Deletes, M: Bucket, G: Group, H: Hosts, A: Addresses, N: Nodes, C: Clock> Ports
    for World<B, M, G, H, A, N, C>
{
    type Bucket = B;
    type Markers = M;
    type Group = G;
    type Hosts = H;
    type Addresses = A;
    type Nodes = N;
    type Clock = C;
    fn bucket(&self) -> &B {
        &self.bucket
    }
    fn markers(&self) -> &M {
        &self.markers
    }
    fn group(&self) -> &G {
        &self.group
    }
    fn hosts(&self) -> &H {
        &self.hosts
    }
    fn addresses(&self) -> &A {
        &self.addresses
    }
    fn nodes(&self) -> &N {
        &self.nodes
    }
    fn clock(&self) -> &C {
        &self.clock
    }
}
