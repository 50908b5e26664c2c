//! Huge blocks: they get memory when they are first used, and give it back.

use super::super::action::Action::{
    Abandon, RecoverAfterDeath, SendHuge, SendHugeBlocking, TrimAll,
};
use super::super::configuration::{BASE, Configuration, HugeBlocks};
use super::shorthand::RECEIVE;
use crate::protocol::huge_memory::HugeClass;

/// Two blocks of one unit each.
const SMALL: HugeClass = HugeClass {
    blocks: 0..2,
    used_in_turn: 0..0,
    payload: 1,
};
/// Two blocks of one unit each that are used in turn.
const IN_TURN: HugeClass = HugeClass {
    used_in_turn: 0..2,
    ..SMALL
};
/// One block of two units.
const LARGER: HugeClass = HugeClass {
    blocks: 2..3,
    used_in_turn: 2..2,
    payload: 2,
};

/// Memory for one block of two, which keeps it.
const ONE_OF_TWO: HugeBlocks = HugeBlocks {
    classes: &[SMALL],
    memory_limit: 1,
    machine_limit: None,
    max_idle_memory: u64::MAX,
    max_generation: u64::MAX,
};
const ONE_OF_TWO_NOT_KEPT: HugeBlocks = HugeBlocks {
    max_idle_memory: 0,
    ..ONE_OF_TWO
};
/// The kernel grants memory for one block of two.
const KERNEL_REFUSES: HugeBlocks = HugeBlocks {
    memory_limit: 2,
    machine_limit: Some(1),
    ..ONE_OF_TWO
};
/// Both blocks are used in turn, and one of them keeps its memory.
const TWO_IN_TURN: HugeBlocks = HugeBlocks {
    classes: &[IN_TURN],
    memory_limit: 2,
    max_idle_memory: 1,
    ..ONE_OF_TWO
};
/// Both blocks are used in turn, and there is memory for one.
const ONE_IN_TURN: HugeBlocks = HugeBlocks {
    memory_limit: 1,
    ..TWO_IN_TURN
};
/// Memory for two small blocks or for a larger one.
const TWO_CLASSES: HugeBlocks = HugeBlocks {
    classes: &[SMALL, LARGER],
    memory_limit: 2,
    ..ONE_OF_TWO
};

/// Explores only schedules in which no block becomes free more often than this.
const fn bounded(max_generation: u64, huge: HugeBlocks) -> HugeBlocks {
    HugeBlocks {
        max_generation,
        ..huge
    }
}

pub(super) const CONFIGURATIONS: &[Configuration] = &[
    Configuration {
        name: "two senders have memory for one block",
        huge: Some(ONE_OF_TWO),
        scripts: &[&[SendHuge(0)], &[SendHuge(0)], &[RECEIVE]],
        ..BASE
    },
    Configuration {
        name: "an idle block gives its memory back while it is allocated",
        huge: Some(ONE_OF_TWO_NOT_KEPT),
        scripts: &[&[SendHuge(0)], &[RECEIVE], &[SendHuge(0)]],
        ..BASE
    },
    Configuration {
        name: "the kernel refuses memory",
        huge: Some(KERNEL_REFUSES),
        scripts: &[&[SendHuge(0)], &[SendHuge(0)], &[RECEIVE]],
        ..BASE
    },
    Configuration {
        name: "a block is allocated while the limit is exceeded",
        huge: Some(bounded(1, ONE_OF_TWO)),
        scripts: &[&[Abandon(0)], &[Abandon(0)], &[Abandon(0)]],
        only_in_full: true,
        ..BASE
    },
    Configuration {
        name: "blocks are used in turn",
        huge: Some(TWO_IN_TURN),
        scripts: &[&[SendHuge(0), SendHuge(0)], &[RECEIVE, RECEIVE, TrimAll]],
        ..BASE
    },
    Configuration {
        name: "two senders use blocks in turn",
        huge: Some(bounded(2, TWO_IN_TURN)),
        scripts: &[&[SendHuge(0)], &[SendHuge(0)], &[RECEIVE, RECEIVE, TrimAll]],
        only_in_full: true,
        ..BASE
    },
    Configuration {
        name: "blocks are used in turn while memory is short",
        huge: Some(bounded(2, ONE_IN_TURN)),
        scripts: &[&[Abandon(0), Abandon(0)], &[Abandon(0)]],
        only_in_full: true,
        ..BASE
    },
    Configuration {
        name: "memory of one size is used for another",
        huge: Some(TWO_CLASSES),
        scripts: &[&[Abandon(0), SendHuge(0)], &[SendHuge(1), RECEIVE]],
        blocks: 3,
        ..BASE
    },
    Configuration {
        name: "two small blocks and a larger one share memory",
        huge: Some(TWO_CLASSES),
        scripts: &[&[Abandon(0), Abandon(0)], &[Abandon(1)]],
        blocks: 3,
        ..BASE
    },
    Configuration {
        name: "a sender dies with memory",
        huge: Some(ONE_OF_TWO),
        scripts: &[
            &[Abandon(0)],
            &[RecoverAfterDeath(0), Abandon(0)],
            &[Abandon(0)],
        ],
        mortal: 0b1,
        max_deaths: 1,
        only_in_full: true,
        ..BASE
    },
    Configuration {
        name: "a sender dies with a part of its memory",
        huge: Some(TWO_CLASSES),
        scripts: &[&[Abandon(1)], &[RecoverAfterDeath(0)], &[Abandon(0)]],
        blocks: 3,
        mortal: 0b1,
        max_deaths: 1,
        ..BASE
    },
    Configuration {
        name: "a receiver dies while it gives memory back",
        huge: Some(ONE_OF_TWO_NOT_KEPT),
        scripts: &[
            &[SendHuge(0)],
            &[RECEIVE],
            &[RecoverAfterDeath(1), SendHuge(0)],
        ],
        mortal: 0b10,
        max_deaths: 1,
        ..BASE
    },
    Configuration {
        name: "a sender sleeps until a block gives its memory back",
        huge: Some(bounded(2, ONE_OF_TWO_NOT_KEPT)),
        scripts: &[&[SendHugeBlocking(0)], &[Abandon(0)]],
        ..BASE
    },
    Configuration {
        name: "two senders sleep until there is memory",
        huge: Some(bounded(2, ONE_OF_TWO)),
        scripts: &[&[SendHugeBlocking(0)], &[SendHugeBlocking(0), RECEIVE]],
        only_in_full: true,
        ..BASE
    },
    Configuration {
        name: "a sender sleeps until the memory of a dead one is reclaimed",
        huge: Some(bounded(3, ONE_OF_TWO_NOT_KEPT)),
        scripts: &[&[Abandon(0)], &[SendHugeBlocking(0)]],
        mortal: 0b1,
        max_deaths: 1,
        ..BASE
    },
    Configuration {
        name: "a sender sleeps, and the one whose memory it needs dies",
        huge: Some(bounded(3, ONE_OF_TWO)),
        scripts: &[
            &[SendHuge(0)],
            &[SendHugeBlocking(0)],
            &[RecoverAfterDeath(0), RECEIVE],
        ],
        mortal: 0b1,
        max_deaths: 1,
        only_in_full: true,
        ..BASE
    },
];
