//! What `--json` prints. `docs/cli.schema.json` has its schema.

use super::observe::{Everything, Look, Seen};
use serde_json::{Value, json};
use std::time::{Duration, UNIX_EPOCH};
use workring::error::OpenError;
use workring::inspect::{
    Address, Holding, Message, Peer, PeerLiveness, Place, Pool, PoolWorker, Settings, State,
};
use workring::queue::BlockStats;

/// The version of the schema. Raised when a field is removed, or changes its meaning.
pub(crate) const VERSION: u32 = 1;

pub(crate) fn state(state: State) -> &'static str {
    match state {
        State::Open => "open",
        State::Closed => "closed",
        State::Ended => "ended",
        State::Cancelled => "cancelled",
        _ => "unknown",
    }
}

pub(crate) fn liveness(liveness: PeerLiveness) -> &'static str {
    match liveness {
        PeerLiveness::Live => "live",
        PeerLiveness::Stopped => "stopped",
        PeerLiveness::Dead => "dead",
        PeerLiveness::Unlocked => "unlocked",
        PeerLiveness::Invited => "invited",
        _ => "unknown",
    }
}

pub(crate) fn place(place: Place) -> &'static str {
    match place {
        Place::Queued => "queued",
        Place::Returned => "returned",
        Place::Held => "held",
        Place::Dead => "dead",
        _ => "unknown",
    }
}

/// Returns why a queue cannot be shown, in one line.
pub(crate) fn problem(error: &OpenError) -> String {
    match error {
        OpenError::Version { theirs, ours, .. } => {
            format!("version {theirs}, this program knows {ours}")
        }
        OpenError::Layout { .. } => "laid out by another build of this version".to_owned(),
        OpenError::NotPrivate { owner, mode, .. } => {
            format!("not private: owner {owner}, mode {mode:o}")
        }
        OpenError::NotAQueue { what, .. } => format!("not a queue: {what}"),
        error => super::text::printable(&super::exit::with_causes(error)),
    }
}

fn kind(address: &Address) -> &'static str {
    match address {
        Address::Named(_) => "named",
        Address::Descriptor { .. } => "anonymous",
    }
}

pub(crate) fn everything(all: &Everything) -> Value {
    json!({
        "version": VERSION,
        "queues": all.queues.iter().map(look).collect::<Vec<_>>(),
        "pools": all.pools.iter().map(pool).collect::<Vec<_>>(),
    })
}

pub(crate) fn look(look: &Look) -> Value {
    let mut value = json!({
        "name": look.address.to_string(),
        "kind": kind(&look.address),
        "processes": look.processes,
    });
    let rest = match &look.seen {
        Ok(found) => seen(found),
        Err(error) => json!({ "problem": problem(error) }),
    };
    if let (Some(value), Value::Object(rest)) = (value.as_object_mut(), rest) {
        value.extend(rest);
    }
    value
}

fn seen(seen: &Seen) -> Value {
    let (snapshot, settings) = (&seen.snapshot, &seen.settings);
    let figures = &snapshot.figures;
    let rates = seen
        .rates
        .map(|rates| json!({ "accepted": rates.accepted, "acknowledged": rates.acknowledged }));
    let deaths = snapshot.deaths.iter().map(|death| {
        let noticed = death.noticed.duration_since(UNIX_EPOCH);
        json!({ "pid": death.pid, "noticed": noticed.unwrap_or_default().as_secs_f64() })
    });
    json!({
        "problem": null,
        "state": state(snapshot.state),
        "settled": snapshot.is_settled,
        "damage": snapshot.damage,
        "capacity": settings.capacity,
        "depth": snapshot.depth,
        "messages": {
            "accepted": figures.accepted,
            "acknowledged": figures.acknowledged,
            "queued": figures.queued,
            "held": figures.held,
            "returned": figures.returned,
            "dead_letters": figures.dead_letters,
            "dropped_letters": figures.dropped_letters,
            "discarded": figures.discarded,
        },
        "rates": rates,
        "memory": { "bytes": snapshot.memory, "limit": settings.memory_limit },
        "idle_seconds": snapshot.idle.map(|idle| idle.as_secs_f64()),
        "settings": stored(settings),
        "peers": snapshot.peers.iter().map(peer).collect::<Vec<_>>(),
        "holdings": holdings(seen),
        "blocks": snapshot.blocks.iter().map(blocks).collect::<Vec<_>>(),
        "recovered": snapshot.recovered,
        "deaths": deaths.collect::<Vec<_>>(),
    })
}

fn stored(settings: &Settings) -> Value {
    json!({
        "type": settings.type_name,
        "codec": settings.codec,
        "schema": settings.schema,
        "raw": settings.is_raw,
        "max_message_len": settings.max_message_len,
        "max_deliveries": settings.max_deliveries,
        "max_dead_letters": settings.max_dead_letters,
        "max_leases": settings.max_leases,
        "close_on_last_sender": settings.close_on_last_sender,
        "close_on_last_receiver": settings.close_on_last_receiver,
        "liveness_interval": settings.liveness_interval.as_secs_f64(),
    })
}

fn holdings(seen: &Seen) -> Vec<Value> {
    let holdings = seen.snapshot.holdings.iter().zip(&seen.held_for);
    let holding = |(holding, held_for): (&Holding, &Duration)| {
        json!({
            "block": holding.block,
            "generation": holding.generation,
            "entry": holding.entry,
            "pid": holding.pid,
            "messages": holding.messages,
            "held_for_at_least": held_for.as_secs_f64(),
        })
    };
    holdings.map(holding).collect()
}

fn blocks(blocks: &BlockStats) -> Value {
    json!({
        "payload": blocks.payload,
        "total": blocks.total,
        "free": blocks.free,
        "committed": blocks.committed,
    })
}

fn peer(peer: &Peer) -> Value {
    json!({
        "entry": peer.entry,
        "pid": peer.pid,
        "command": peer.command,
        "sends": peer.sends,
        "receives": peer.receives,
        "holds": peer.holds,
        "state": liveness(peer.liveness),
    })
}

pub(crate) fn pool(pool: &Pool) -> Value {
    json!({
        "name": pool.address.to_string(),
        "parent": pool.parent,
        "task_type": pool.task_type,
        "tasks": pool.tasks.as_ref().map(Address::to_string),
        "results": pool.results.as_ref().map(Address::to_string),
        "problem": pool.problem,
        "workers": pool.workers.iter().map(worker).collect::<Vec<_>>(),
    })
}

fn worker(worker: &PoolWorker) -> Value {
    let task = worker
        .task
        .map(|task| json!({ "id": task.id, "age": task.age.as_secs_f64(), "phase": task.phase }));
    json!({
        "slot": worker.slot,
        "pid": worker.pid,
        "stopped": worker.is_stopped,
        "task": task,
    })
}

pub(crate) fn message(message: &Message) -> Value {
    let text = core::str::from_utf8(&message.bytes).ok();
    json!({
        "position": message.position,
        "in_batch": message.in_batch,
        "place": place(message.place),
        "failed_deliveries": message.failed_deliveries,
        "len": message.len,
        "text": text,
        "hex": super::text::hex(&message.bytes),
    })
}

/// Returns a value as lines.
pub(crate) fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

/// Returns a value as one line.
pub(crate) fn line(value: &Value) -> String {
    format!("{value}\n")
}

/// Returns the seconds of a time.
pub(crate) fn seconds(time: Duration) -> Value {
    json!(time.as_secs_f64())
}
