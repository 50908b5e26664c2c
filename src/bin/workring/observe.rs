//! Queues over time: from successive looks at them follow rates, and how long messages have been held at least.

use std::collections::HashMap;
use std::time::{Duration, Instant};
use workring::error::OpenError;
use workring::inspect::{
    Address, Anonymous, Figures, Holding, Pool, QueueView, Settings, Snapshot, anonymous, named,
    pools,
};

/// Messages per second.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rates {
    pub(crate) accepted: f64,
    pub(crate) acknowledged: f64,
}

/// What a look at one queue has shown.
#[derive(Debug)]
pub(crate) struct Look {
    pub(crate) address: Address,
    /// The processes that have a queue without a name open.
    pub(crate) processes: Vec<u32>,
    pub(crate) seen: Result<Seen, OpenError>,
}

/// What a look at a queue that can be read has shown.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) settings: Settings,
    pub(crate) snapshot: Snapshot,
    /// `None`: this was the first look.
    pub(crate) rates: Option<Rates>,
    /// For each of the snapshot's holdings, how long it has been held at least: since a look at which it was held.
    pub(crate) held_for: Vec<Duration>,
}

impl Seen {
    /// Returns the longest time that a message has been held, as far as is known.
    pub(crate) fn longest_held(&self) -> Option<Duration> {
        self.held_for.iter().max().copied()
    }
}

/// All queues and pools, at one time.
#[derive(Debug, Default)]
pub(crate) struct Everything {
    pub(crate) queues: Vec<Look>,
    pub(crate) pools: Vec<Pool>,
}

/// What an earlier look has shown of one queue.
#[derive(Debug)]
struct Earlier {
    file: (u64, u64),
    at: Instant,
    figures: Figures,
    rates: Option<Rates>,
    held: HashMap<(u32, u64, u16), Instant>,
}

/// Looks at queues, and remembers what it has seen.
#[derive(Debug, Default)]
pub(crate) struct Observer {
    earlier: HashMap<Address, Earlier>,
    /// The last view, for its memory.
    spare: Option<QueueView>,
}

/// Looks that follow each other faster give no rates: the error would be larger than the rate.
const SHORTEST: Duration = Duration::from_millis(50);

impl Observer {
    /// Looks at all queues and pools of this user.
    pub(crate) fn everything(&mut self) -> std::io::Result<Everything> {
        let files = anonymous();
        let mut queues: Vec<Look> = named()?
            .into_iter()
            .map(|name| self.look(Address::Named(name), Vec::new()))
            // It was removed after it was listed.
            .filter(|look| !matches!(look.seen, Err(OpenError::NotFound { .. })))
            .collect();
        for file in files.iter().filter(|file| !file.is_board) {
            let Some(open) = file.first() else { continue };
            let address = Address::Descriptor {
                process: open.process,
                descriptor: open.descriptor,
            };
            let look = self.look(address, file.processes());
            if !matches!(look.seen, Err(OpenError::NotFound { .. })) {
                queues.push(look);
            }
        }
        let listed: Vec<&Address> = queues.iter().map(|look| &look.address).collect();
        self.earlier.retain(|address, _| listed.contains(&address));
        Ok(Everything {
            queues,
            pools: pools(&files),
        })
    }

    /// Looks at one queue.
    pub(crate) fn look(&mut self, address: Address, processes: Vec<u32>) -> Look {
        let seen = QueueView::open_reusing(&address, self.spare.take()).map(|view| {
            let snapshot = view.snapshot();
            let seen = self.remember(&address, view.file(), view.settings(), snapshot);
            self.spare = Some(view);
            seen
        });
        Look {
            address,
            processes,
            seen,
        }
    }

    fn remember(
        &mut self,
        address: &Address,
        file: (u64, u64),
        settings: Settings,
        mut snapshot: Snapshot,
    ) -> Seen {
        let now = Instant::now();
        // Another queue may have the name by now.
        let earlier = self
            .earlier
            .get(address)
            .filter(|earlier| earlier.file == file);
        if let Some(earlier) = earlier {
            snapshot.figures = snapshot.figures.since(&earlier.figures);
        }
        let rates = earlier.and_then(|earlier| {
            let time = now.duration_since(earlier.at);
            let rate = |now: u64, before: u64| per_second(now.saturating_sub(before), time);
            if time < SHORTEST {
                return earlier.rates;
            }
            Some(Rates {
                accepted: rate(snapshot.figures.accepted, earlier.figures.accepted),
                acknowledged: rate(snapshot.figures.acknowledged, earlier.figures.acknowledged),
            })
        });
        let since = |holding: &Holding| {
            let known = earlier.and_then(|earlier| earlier.held.get(&key(holding)));
            (key(holding), known.copied().unwrap_or(now))
        };
        let held: HashMap<_, _> = snapshot.holdings.iter().map(since).collect();
        let held_for = |holding| {
            let since = held.get(&key(holding)).copied().unwrap_or(now);
            now.duration_since(since)
        };
        let held_for = snapshot.holdings.iter().map(held_for).collect();
        let remembered = Earlier {
            file,
            at: now,
            figures: snapshot.figures,
            rates,
            held,
        };
        self.earlier.insert(address.clone(), remembered);
        Seen {
            settings,
            snapshot,
            rates,
            held_for,
        }
    }
}

/// The same key means that the same messages are held, by the same process, without a break.
fn key(holding: &Holding) -> (u32, u64, u16) {
    (holding.block, holding.generation, holding.entry)
}

#[allow(
    clippy::cast_precision_loss,
    reason = "a rate need not be exact to more than 52 bits"
)]
fn per_second(count: u64, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64()
}

/// Returns the pool of this address, if it is one.
pub(crate) fn pool_at(address: &Address) -> Option<Pool> {
    let Address::Descriptor {
        process,
        descriptor,
    } = address
    else {
        return None;
    };
    let is_meant = |file: &&Anonymous| {
        let mut open = file.open.iter();
        open.any(|open| (open.process, open.descriptor) == (*process, *descriptor))
    };
    let files = anonymous();
    let board = files.iter().find(is_meant).filter(|file| file.is_board)?;
    let first = board.first()?;
    let address = Address::Descriptor {
        process: first.process,
        descriptor: first.descriptor,
    };
    pools(&files)
        .into_iter()
        .find(|pool| pool.address == address)
}
