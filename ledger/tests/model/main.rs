//! The protocol in small worlds, every one of its states.
//!
//! Order: `fold` says what a log means, by the functions that the real code decides with; `protocol` is what
//! processes and store may do next; here are the worlds, and one test for each rule that is taken away.
//! The store is abstract: an upload is open, visible, aborted or deleted, and a completion that the store accepted
//! may be slow, and land over an abort and a delete.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests too")]

mod fold;
mod protocol;

use stateright::{Checker, HasDiscoveries, Model};

use protocol::{Rule, World};

/// Two writers of two offsets, one of them rejected and rewound once; a put that comes late or never.
const CORE: World = World {
    offsets: 2,
    uploads: 3,
    entries: 5,
    crashes: 0,
    lost: 0,
    late: 1,
    slow: 0,
    rejects: true,
    rewinds: 1,
    sweeps: 0,
    rule_off: None,
};

/// The same with a crash between any two steps instead.
const CRASH: World = World { crashes: 1, late: 0, ..CORE };

/// Completions are slow; the log moves little.
const SLOW: World = World { offsets: 1, slow: 2, ..CRASH };

/// Rewinds to anywhere, one after the other; nobody is rejected. Completions are atomic, so that one look at what
/// must be gone is enough (see `abort_first_alone_is_enough_where_completions_are_atomic`).
const NESTED: World = World { late: 0, rejects: false, rewinds: 2, rule_off: Some(Rule::SecondLook), ..CORE };

/// Uploads that nobody names are swept, while their writers may still come back to them.
const SWEPT: World = World { offsets: 1, crashes: 1, lost: 1, rejects: false, rewinds: 0, sweeps: 1, ..CORE };

/// Explores all of a world; returns how many states it has.
fn holds(world: World) -> usize {
    let checker = world.checker().threads(2).spawn_bfs().join();
    println!("{} states: {world:?}", checker.unique_state_count());
    checker.assert_properties();
    checker.unique_state_count()
}

/// Explores until the world without `rule` breaks `property`, and prints the shortest way there.
fn breaks(world: World, rule: Rule, property: &'static str) {
    let world = World { rule_off: Some(rule), ..world };
    let only = std::collections::BTreeSet::from([property]);
    let checker = world.checker().threads(2).finish_when(HasDiscoveries::AnyOf(only)).spawn_bfs().join();
    let path = checker.discovery(property);
    let path = path.unwrap_or_else(|| panic!("without {rule:?} `{property}` still holds"));
    println!("without {rule:?}: {property}");
    for action in path.into_actions() {
        println!("  {action:?}");
    }
}

#[test]
fn zombies_and_lost_and_late_requests_break_nothing() {
    assert!(holds(CORE) > 10_000);
}

#[test]
fn crashes_between_any_two_steps_break_nothing() {
    assert!(holds(CRASH) > 10_000);
}

#[test]
fn slow_completions_break_nothing() {
    assert!(holds(SLOW) > 10_000);
}

#[test]
fn nested_rewinds_break_nothing() {
    assert!(holds(NESTED) > 10_000);
}

#[test]
fn sweeps_break_nothing() {
    assert!(holds(SWEPT) > 10_000);
}

#[test]
fn without_the_fence_offsets_are_written_twice() {
    breaks(CORE, Rule::Fence, "the log follows");
}

#[test]
fn without_rejection_a_zombie_writes_behind_the_rewind() {
    breaks(CORE, Rule::Reject, "a rejected writer writes nothing more");
}

#[test]
fn if_the_own_entry_is_looked_for_first_a_rejected_writer_goes_on() {
    breaks(CORE, Rule::RejectionFirst, "a rejected writer that knows it stops");
}

#[test]
fn if_uploads_in_doubt_are_aborted_committed_rows_are_lost() {
    breaks(CORE, Rule::DoubtAbortsNothing, "nothing that is committed is lost");
}

/// With atomic completions a second look is not needed if, and only if, the abort comes first.
#[test]
fn abort_first_alone_is_enough_where_completions_are_atomic() {
    holds(World { slow: 0, rule_off: Some(Rule::SecondLook), ..SLOW });
}

#[test]
fn if_the_delete_comes_first_a_completion_slips_in_between() {
    let atomic = World { slow: 0, ..SLOW };
    breaks(atomic, Rule::AbortFirst, "what is settled is exactly what readers see");
}

#[test]
fn without_a_second_look_a_slow_completion_brings_rows_back() {
    breaks(SLOW, Rule::SecondLook, "what is settled is exactly what readers see");
}

#[test]
fn if_a_rewind_copies_positions_from_an_old_entry_nested_ones_leave_a_hole() {
    breaks(NESTED, Rule::PositionsFromLive, "what is live covers every offset below the position once");
}

#[test]
fn if_a_sweep_aborts_without_naming_committed_rows_are_lost() {
    breaks(SWEPT, Rule::SweepNames, "nothing that is committed is lost");
}

/// The same worlds with more in them: minutes. `cargo test -p ledger --test model -- --ignored`
#[test]
#[ignore = "minutes"]
fn larger_worlds_hold_too() {
    holds(World { crashes: 1, lost: 1, ..CORE });
    holds(World { offsets: 2, lost: 1, ..SLOW });
    holds(World { rule_off: None, uploads: 4, entries: 6, ..NESTED });
    holds(World { offsets: 2, slow: 1, rewinds: 1, ..SWEPT });
}
