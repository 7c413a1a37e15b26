//! Rules: those that the simulation takes away, one at a time, to see what they are for.
//!
//! Outside the simulation all of them hold.
//! Neighbours: judge and plan ask whether one holds.

/// A rule that can be taken away.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Rule {
    OwnRollbackOffWhenGoingBack,
    IntentsBeforeCalls,
    RejectOnlyWithATarget,
    BlockedNeverRejects,
    PeopleWin,
    OneReleaseAtATime,
    OrderByVersion,
    AdoptWithoutAJournal,
    OurDeploymentOnly,
    UnknownPlansNothing,
}

impl Rule {
    pub const ALL: [Rule; 10] = [
        Rule::OwnRollbackOffWhenGoingBack,
        Rule::IntentsBeforeCalls,
        Rule::RejectOnlyWithATarget,
        Rule::BlockedNeverRejects,
        Rule::PeopleWin,
        Rule::OneReleaseAtATime,
        Rule::OrderByVersion,
        Rule::AdoptWithoutAJournal,
        Rule::OurDeploymentOnly,
        Rule::UnknownPlansNothing,
    ];
}

/// Which rules hold.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Rules {
    pub own_rollback_off_when_going_back: bool,
    pub intents_before_calls: bool,
    pub reject_only_with_a_target: bool,
    pub blocked_never_rejects: bool,
    pub people_win: bool,
    pub one_release_at_a_time: bool,
    pub order_by_version: bool,
    pub adopt_without_a_journal: bool,
    pub our_deployment_only: bool,
    pub unknown_plans_nothing: bool,
}

impl Rules {
    pub const ALL: Rules = Rules {
        own_rollback_off_when_going_back: true,
        intents_before_calls: true,
        reject_only_with_a_target: true,
        blocked_never_rejects: true,
        people_win: true,
        one_release_at_a_time: true,
        order_by_version: true,
        adopt_without_a_journal: true,
        our_deployment_only: true,
        unknown_plans_nothing: true,
    };

    /// For the simulation: all rules but one.
    #[doc(hidden)]
    pub fn without(rule: Rule) -> Rules {
        let mut rules = Rules::ALL;
        let held = match rule {
            Rule::OwnRollbackOffWhenGoingBack => &mut rules.own_rollback_off_when_going_back,
            Rule::IntentsBeforeCalls => &mut rules.intents_before_calls,
            Rule::RejectOnlyWithATarget => &mut rules.reject_only_with_a_target,
            Rule::BlockedNeverRejects => &mut rules.blocked_never_rejects,
            Rule::PeopleWin => &mut rules.people_win,
            Rule::OneReleaseAtATime => &mut rules.one_release_at_a_time,
            Rule::OrderByVersion => &mut rules.order_by_version,
            Rule::AdoptWithoutAJournal => &mut rules.adopt_without_a_journal,
            Rule::OurDeploymentOnly => &mut rules.our_deployment_only,
            Rule::UnknownPlansNothing => &mut rules.unknown_plans_nothing,
        };
        *held = false;
        rules
    }
}
