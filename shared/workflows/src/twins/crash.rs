//! Dying at every call in turn (DESIGN §1.8, §1.12): whoever comes after must reach the same end, and nothing that may
//! happen once may happen twice.
//!
//! A test gives a way to make a world, what one invocation does with ports, and what of the end state counts.
//! [`for_each_crash_point`] invokes until the end state stays, once with nothing going wrong, and counts the calls. Then,
//! for each call of that run, it makes a new world and lets the process die before that call, die after it, and not hear
//! its reply; each time it goes on with fresh invocations, a tick apart, and compares. The process that dies is dropped
//! where it stands: nothing of it runs on.
//!
//! ```ignore
//! let report = for_each_crash_point(
//!     || { let (world, instance) = World::serving(); world.node(&instance).seed(); world },
//!     async |_world, ports| { let _ = take_a_backup(&ports.bucket, &ports.nodes, &ports.clock).await; },
//!     |world| world.bucket().keys("manifests/").len(),
//! ).await;
//! assert_eq!(report.end, 2);
//! ```
//!
//! An invocation should return when nothing is left to do or when it would wait for the next tick; the harness lets a
//! minute pass between two. The projection must leave out what honestly differs (times, ETags, attempt numbers).

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use super::plan::{FaultPlan, Mode, Planned};
use super::{AddressesTwin, BucketTwin, ClockTwin, GroupTwin, HostsTwin, NodesTwin, World};

/// The ports of one invocation, numbered by one plan. The clock is not an external call.
#[derive(Debug, Clone)]
pub struct PlannedPorts {
    /// The cluster's bucket.
    pub bucket: Planned<BucketTwin>,
    /// The bucket named `markers`.
    pub markers: Planned<BucketTwin>,
    /// The group.
    pub group: Planned<GroupTwin>,
    /// The hosts.
    pub hosts: Planned<HostsTwin>,
    /// The fixed address.
    pub addresses: Planned<AddressesTwin>,
    /// The nodes.
    pub nodes: Planned<NodesTwin>,
    /// The clock.
    pub clock: ClockTwin,
}

impl FaultPlan {
    /// All ports of a world under this plan.
    pub fn ports(&self, world: &World) -> PlannedPorts {
        PlannedPorts {
            bucket: self.wrap(world.bucket()),
            markers: self.wrap(world.bucket_named("markers")),
            group: self.wrap(world.group()),
            hosts: self.wrap(world.hosts()),
            addresses: self.wrap(world.addresses()),
            nodes: self.wrap(world.nodes()),
            clock: world.clock(),
        }
    }
}

/// How many invocations a run may need to reach its end.
pub const INVOCATIONS_MAX: usize = 60;
/// Invocations in a row that change nothing: one may only be waiting.
const STILL_MIN: usize = 3;
const TICK: Duration = Duration::from_secs(60);

/// What was tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CrashReport<P> {
    /// The clean run's end state, which every other run reached too. Check it: a run that settles on nothing at all is
    /// the same at every crash point.
    pub end: P,
    /// Calls of the clean run until its end: where the process may die.
    pub points: usize,
    /// Runs that were compared with it.
    pub runs: usize,
}

/// Runs until the plan lets the process die, and then drops it.
pub async fn until_death<T>(plan: &FaultPlan, process: impl Future<Output = T>) -> Option<T> {
    let mut process = pin!(process);
    std::future::poll_fn(|context| match process.as_mut().poll(context) {
        Poll::Ready(value) => Poll::Ready(Some(value)),
        Poll::Pending if plan.is_dead() => Poll::Ready(None),
        Poll::Pending => Poll::Pending,
    })
    .await
}

/// See the module's words.
///
/// # Panics
/// With the mode, the call and the two end states, when a run does not reach the end of the clean one, or does twice
/// what may happen once.
pub async fn for_each_crash_point<P: PartialEq + Debug>(
    make_world: impl Fn() -> World,
    invoke: impl AsyncFn(World, PlannedPorts),
    project: impl Fn(&World) -> P,
) -> CrashReport<P> {
    let (world, plan) = (make_world(), FaultPlan::new(Mode::Watch));
    let (mut points, mut still) = (0, 0);
    for _ in 0..INVOCATIONS_MAX {
        let (before, effects_before) = (project(&world), world.effects().len());
        invoke(world.clone(), plan.ports(&world)).await;
        if project(&world) == before && world.effects().len() == effects_before {
            still += 1;
        } else {
            (points, still) = (plan.calls().len(), 0);
        }
        if still == STILL_MIN {
            break;
        }
        world.advance(TICK);
    }
    assert_eq!(still, STILL_MIN, "the clean run settles within {INVOCATIONS_MAX} invocations");
    let (clean, allowed, calls) = (project(&world), tally(&world), plan.calls());

    let mut runs = 0;
    for number in 1..=points {
        for mode in [Mode::Before { call: number }, Mode::Stop { after: number }, Mode::LostReply { call: number }] {
            let (call, subject) = &calls[number - 1];
            let what = format!("{mode:?} at {call} {subject}");
            let world = make_world();
            run_struck(&world, mode, &invoke, &project, &clean, &what).await;
            for (effect, times) in tally(&world) {
                let may = allowed.get(&effect).copied().unwrap_or(0).max(1);
                assert!(times <= may, "{what}: {times} times {effect}, which may happen {may} times");
            }
            runs += 1;
        }
    }
    CrashReport { end: clean, points, runs }
}

/// One run in which the plan strikes once, and the invocations after it, until the end state is there and stays.
async fn run_struck<P: PartialEq + Debug>(
    world: &World,
    mode: Mode,
    invoke: &impl AsyncFn(World, PlannedPorts),
    project: &impl Fn(&World) -> P,
    clean: &P,
    what: &str,
) {
    let plan = FaultPlan::new(mode);
    let mut reached = 0;
    for _ in 0..INVOCATIONS_MAX {
        if plan.is_dead() {
            invoke(world.clone(), FaultPlan::new(Mode::Watch).ports(world)).await;
        } else {
            until_death(&plan, invoke(world.clone(), plan.ports(world))).await;
        }
        let struck = match mode {
            Mode::Stop { after: number } | Mode::Before { call: number } | Mode::LostReply { call: number } => {
                plan.calls().len() >= number
            }
            Mode::Watch => true,
        };
        reached = if struck && project(world) == *clean { reached + 1 } else { 0 };
        if reached == STILL_MIN {
            return;
        }
        world.advance(TICK);
    }
    assert_eq!(&project(world), clean, "{what}: the end state (left) is not that of the clean run (right)");
}

/// How often each effect happened that may happen once.
fn tally(world: &World) -> BTreeMap<String, usize> {
    let mut tally = BTreeMap::new();
    for effect in world.effects().iter().filter(|effect| effect.once_only()) {
        *tally.entry(effect.to_string()).or_insert(0) += 1;
    }
    tally
}
