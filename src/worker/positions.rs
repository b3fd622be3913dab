//! Which plugins run, and from where each of them gets records.
#![allow(
    ffi_unwind_calls,
    reason = "every callback goes through `call`, which guards it"
)]

use super::call::call;
use super::durable::Remembered;
use super::loading;
use crate::guc::{self, MAX_PLUGINS};
use crate::memory;
use crate::plugin::current::Callback;
use crate::plugin::{DispatchTable, LoadedPlugin};
use crate::reader::{redo_pointer, segment_size};
use crate::shared::{Control, PluginState};
use core::sync::atomic::Ordering::Relaxed;
use pgrx::prelude::*;
use std::time::Duration;
use walker_plugin::wal::Lsn;
use walker_plugin::{RESUME, WalkerCallbacks};

/// The plugins of this worker process.
pub struct Plugins {
    running: Vec<(u32, LoadedPlugin)>,
    /// By plugin index: records that end at or before are not delivered.
    pub positions: [u64; MAX_PLUGINS],
    /// By plugin index: it has no state of its own that says where it was.
    stateless: [bool; MAX_PLUGINS],
    /// By plugin index: one without such a state that makes something durable all
    /// the same goes on here after a crash, and not where it has got to; 0 until
    /// that is known.
    kept: [Option<u64>; MAX_PLUGINS],
    /// What the state file of the worker says.
    remembered: Remembered,
    /// Callbacks by resource manager ID.
    pub table: DispatchTable,
}

impl Plugins {
    /// Load what is configured, start it, and find out from where.
    pub fn start(control: &Control) -> Plugins {
        let running = loading::load_all(control);
        let table = DispatchTable::build(running.iter().map(|(i, p)| (*i, p)));
        let mut plugins = Plugins {
            running,
            positions: [0; MAX_PLUGINS],
            stateless: [false; MAX_PLUGINS],
            kept: [None; MAX_PLUGINS],
            remembered: Remembered::default(),
            table,
        };
        plugins.start_up(control);
        plugins
    }

    fn start_up(&mut self, control: &Control) {
        self.remembered = Remembered::load();
        // A state may be too large from the start: then it is known whose.
        memory::measure(guc::max_memory().is_some());
        for (index, plugin) in &self.running {
            let status = &control.plugins[*index as usize];
            let remembered = self.remembered.position(&plugin.name.to_string_lossy());
            let mut resume = Lsn(status.applied_lsn.load(Relaxed));
            if !resume.is_valid()
                && let Some(lsn) = remembered
            {
                resume = lsn;
            }
            let callbacks = &plugin.callbacks;
            if let Some(startup) = callbacks.startup_cb {
                // SAFETY: the plugin's own callback, as include/walker.h says.
                call(*index, Callback::Startup, resume, || unsafe { startup() });
            }
            let start = match callbacks.start_lsn_cb {
                // A plugin with state of its own knows; without any, it begins
                // where every page that matters still has its image in WAL.
                // SAFETY: as above.
                Some(start_lsn) => call(*index, Callback::StartLsn, resume, || unsafe {
                    start_lsn()
                }),
                None => RESUME,
            };
            self.stateless[*index as usize] = start == RESUME;
            // What it has not made durable may have come long before this process.
            self.kept[*index as usize] = (start == RESUME && callbacks.flush_cb.is_some())
                .then(|| remembered.map_or(0, |lsn| lsn.0));
            let bounded = self.kept[*index as usize].is_some();
            status.bounded.store(bounded.into(), Relaxed);
            // What is on the disk, whatever was shown before.
            let durable = match start {
                RESUME => remembered.map_or(0, |lsn| lsn.0),
                lsn => lsn,
            };
            status.durable_lsn.store(durable, Relaxed);
            let start = match start {
                RESUME if resume.is_valid() => resume,
                0 | RESUME => redo_pointer(),
                lsn => Lsn(lsn),
            };
            self.positions[*index as usize] = start.0;
            status.start_lsn.store(start.0, Relaxed);
            status.applied_lsn.store(start.0, Relaxed);
            status.state.store(PluginState::Running as u32, Relaxed);
        }
    }

    /// Where reading must begin to serve all of them; `None` without plugins.
    pub fn start_lsn(&self) -> Option<Lsn> {
        self.running
            .iter()
            .map(|(i, _)| Lsn(self.positions[*i as usize]))
            .min()
    }

    /// All WAL up to `end` has been delivered: show it, and forget failures
    /// that lie behind.
    pub fn applied(&self, control: &Control, end: Lsn) {
        for (index, _) in &self.running {
            let status = &control.plugins[*index as usize];
            // A plugin whose own start lies ahead has not seen less.
            let seen = end.0.max(self.positions[*index as usize]);
            status.applied_lsn.store(seen, Relaxed);
            if status.failures.load(Relaxed) != 0
                && status.failed_callback.load(Relaxed) == Callback::Record as u32
                && status.failed_lsn.load(Relaxed) < end.0
            {
                status.failures.store(0, Relaxed);
            }
        }
    }

    /// Let every plugin do what it does between records.
    pub fn poll(&self, end: Lsn) {
        for (index, plugin) in &self.running {
            let Some(poll) = plugin.callbacks.poll_cb else {
                continue;
            };
            // One that is ahead of the reader must not be told otherwise.
            let seen = end.max(Lsn(self.positions[*index as usize]));
            // SAFETY: the plugin's own callback, as include/walker.h says.
            call(*index, Callback::Poll, seen, || unsafe { poll(seen.0) });
        }
    }

    /// Let plugins make their state durable: `which` has a bit for each. Whether
    /// something else is to be remembered now.
    pub fn flush(&mut self, control: &Control, upto: Lsn, which: u32) -> bool {
        let mut moved = false;
        let wanted = |index: u32| which.checked_shr(index).unwrap_or(0) & 1 != 0;
        for (index, plugin) in self.running.iter().filter(|(i, _)| wanted(*i)) {
            let Some(flush) = plugin.callbacks.flush_cb else {
                continue;
            };
            let status = &control.plugins[*index as usize];
            // A plugin that is ahead of the reader must not be told otherwise.
            if upto.0 < self.positions[*index as usize] {
                continue;
            }
            // SAFETY: as in `poll`.
            let durable = call(*index, Callback::Flush, upto, || unsafe { flush(upto.0) });
            let durable = (durable != 0).then(|| durable.min(upto.0));
            if self.stateless[*index as usize] {
                status.bounded.store(durable.is_some().into(), Relaxed);
                // From where it goes on our own state file says: see `remember`.
                let before = std::mem::replace(&mut self.kept[*index as usize], durable);
                moved |= before != durable;
            } else if let Some(durable) = durable {
                status.durable_lsn.store(durable, Relaxed);
            }
        }
        moved
    }

    /// Remember where the plugins are that keep no state themselves. One that
    /// does not run now, because it is quarantined or could not be loaded,
    /// will go on where it was. False if that must wait until what was
    /// remembered before is durable.
    pub fn remember(&mut self, control: &Control, upto: Lsn) -> bool {
        if self.remembered.pending() {
            return false;
        }
        let mut seen = Vec::new();
        for (index, status) in control.configured().iter().enumerate() {
            let name = control.text(&status.name);
            let runs = self.running.iter().any(|(i, _)| *i as usize == index);
            let position = match Lsn(status.applied_lsn.load(Relaxed)) {
                _ if runs && !self.stateless[index] => continue,
                _ if runs && self.kept[index] == Some(0) => continue,
                // One whose position is ahead of the reader has seen more.
                _ if runs => {
                    let seen = upto.max(Lsn(self.positions[index]));
                    self.kept[index].map_or(seen, |kept| seen.min(Lsn(kept)))
                }
                lsn if lsn.is_valid() && status.bounded.load(Relaxed) != 0 => {
                    // It was given more than it has made durable.
                    self.remembered
                        .position(&name)
                        .map_or(lsn, |to| to.min(lsn))
                }
                lsn if lsn.is_valid() => lsn,
                _ => match self.remembered.position(&name) {
                    Some(lsn) => lsn,
                    None => continue,
                },
            };
            seen.push((name, position));
        }
        self.remembered.save(seen, upto);
        true
    }

    /// Whether something remembered is not durable yet.
    pub fn remembering(&self) -> bool {
        self.remembered.pending()
    }

    /// Show what was remembered as durable once it is. Waits for the disk no
    /// longer than `patience`. Whether there was something.
    pub fn show_remembered(&mut self, control: &Control, patience: Duration) -> bool {
        let Some(durable) = self.remembered.durable(patience) else {
            return false;
        };
        for (index, plugin) in &self.running {
            let remembered = self.remembered.position(&plugin.name.to_string_lossy());
            if let Some(lsn) = remembered.filter(|_| self.stateless[*index as usize]) {
                let status = &control.plugins[*index as usize];
                status.durable_lsn.store(lsn.min(durable).0, Relaxed);
            }
        }
        true
    }

    /// From where on the plugins would need WAL again; `None` without plugins.
    /// Without any state a plugin would begin at the redo pointer.
    pub fn durable(&self, control: &Control) -> Option<Lsn> {
        let durable = |i: &u32| match control.plugins[*i as usize].durable_lsn.load(Relaxed) {
            0 => redo_pointer(),
            lsn => Lsn(lsn),
        };
        self.running.iter().map(|(i, _)| durable(i)).min()
    }

    /// The first position of a plugin behind this one, if its WAL is not known
    /// to be removed.
    pub fn next_after(&self, from: Lsn) -> Option<Lsn> {
        // SAFETY: shared memory under its spinlock.
        let removed = unsafe { pg_sys::XLogGetLastRemovedSegno() };
        self.running
            .iter()
            .map(|(i, _)| self.positions[*i as usize])
            .filter(|p| *p > from.0 && *p / segment_size() > removed)
            .min()
            .map(Lsn)
    }

    /// Tell those it concerns that WAL was lost, and move them behind it.
    pub fn gap(&mut self, from: Lsn, to: Lsn) {
        for (index, plugin) in &self.running {
            let position = &mut self.positions[*index as usize];
            if *position >= to.0 {
                continue;
            }
            let begin = Lsn(from.0.max(*position));
            *position = to.0;
            if let Some(gap) = plugin.callbacks.gap_cb {
                // SAFETY: as in `poll`.
                call(*index, Callback::Gap, begin, || unsafe {
                    gap(begin.0, to.0)
                });
            }
        }
    }

    /// Tell all that a new timeline begins.
    pub fn timeline(&self, tli: u32, lsn: Lsn) {
        self.each(
            |c| c.timeline_cb,
            Callback::Timeline,
            lsn,
            |timeline| {
                // SAFETY: as in `poll`.
                unsafe { timeline(tli, lsn.0) }
            },
        );
    }

    /// The worker leaves.
    pub fn shut_down(&self, end: Lsn) {
        self.each(
            |c| c.shutdown_cb,
            Callback::Shutdown,
            end,
            |shutdown| {
                // SAFETY: as in `poll`.
                unsafe { shutdown() }
            },
        );
    }

    fn each<F: Copy>(
        &self,
        member: impl Fn(&WalkerCallbacks) -> Option<F>,
        name: Callback,
        lsn: Lsn,
        run: impl Fn(F),
    ) {
        for (index, plugin) in &self.running {
            if let Some(f) = member(&plugin.callbacks) {
                call(*index, name, lsn, || run(f));
            }
        }
    }

    /// Names of the running plugins, for the log.
    pub fn names(&self) -> String {
        let names: Vec<_> = self
            .running
            .iter()
            .map(|(_, p)| p.name.to_string_lossy())
            .collect();
        if names.is_empty() {
            "none".to_owned()
        } else {
            names.join(", ")
        }
    }
}
