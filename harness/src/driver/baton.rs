//! Interleaving: the whole replay is a baton that goes from thread to thread, at the latest when one stops within a callback that is about to
//! touch what workers share. Only who holds it runs, and who gets it next is drawn by the seed: threads of the machine are here only for
//! their stacks, and cannot influence the result.

use std::any::Any;
use std::mem;
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use super::Replay;
use crate::host::{Beside, Host, Notes, Slot, StreamId};
use crate::vm::Vm;

/// The stack of a thread: a VM's, and more than what the driver needs around it.
const STACK_BYTES: usize = 4 << 20;

/// What belongs to what a thread is doing, and must be there again when it goes on.
struct Aside {
    noting: Option<StreamId>,
    fatal: Option<String>,
    apart: Notes,
    ended: std::collections::VecDeque<Slot>,
    asked: std::collections::VecDeque<Slot>,
    telling: bool,
}

/// How a row of turns ends.
enum Row {
    /// Nobody has anything left to do at this moment.
    Over(Box<Replay>),
    /// Next is a thread that waits within a callback.
    Next(Box<Replay>, usize),
}

impl Replay {
    /// Runs a callback in a VM, as far as it has one. With several workers all of the replay goes in with it, so that others can have their
    /// turn while it runs.
    pub(super) fn enter<R>(
        &mut self,
        vm: usize,
        id: u32,
        callback: impl FnOnce(&mut Vm, &mut Box<Host>, u32) -> Result<Option<R>, String>,
    ) -> Result<Option<R>, String> {
        if self.turns.is_none() {
            return callback(&mut self.vms[vm], &mut self.host, id);
        }
        let mut machine = self.take_vm(vm);
        let mut whole = Box::new(mem::replace(self, Self::empty(Host::idle())));
        let mut host = mem::replace(&mut whole.host, Host::idle());
        host.beside = Some(whole);
        let result = callback(&mut machine, &mut host, id);
        let whole = host.beside.take().and_then(|beside| beside.into_any().downcast::<Self>().ok());
        if let Some(whole) = whole {
            *self = *whole;
        }
        self.host = host;
        self.give_vm(vm, machine);
        result
    }

    /// Takes a VM out; what stands in its place shows whether it failed.
    fn take_vm(&mut self, vm: usize) -> Vm {
        let spare = self.turns.as_mut().and_then(|turns| turns.spare.pop());
        let spare = spare.unwrap_or_else(|| Vm::hollow(&self.plugins[0].module));
        let machine = mem::replace(&mut self.vms[vm], spare);
        self.vms[vm].failed = machine.failed;
        self.vms[vm].loaded_ns = machine.loaded_ns;
        machine
    }

    fn give_vm(&mut self, vm: usize, machine: Vm) {
        let spare = mem::replace(&mut self.vms[vm], machine);
        if let Some(turns) = &mut self.turns {
            turns.spare.push(spare);
        }
    }

    /// Threads take turns until none has anything left to do at this moment.
    pub(super) fn take_turns(&mut self) {
        let Some(first) = self.whose_turn(None) else { return };
        let whole = Box::new(mem::replace(self, Self::empty(Host::idle())));
        *self = *match whole.row(first) {
            Row::Over(whole) => whole,
            Row::Next(mut whole, next) => {
                let (hub, back) = channel();
                if let Some(turns) = &mut whole.turns {
                    turns.hub = Some(hub);
                }
                whole.give(next);
                wait(&back)
            }
        };
    }

    /// Turns, from that of `first` on, until there is none, or until it is that of one who waits within a callback.
    fn row(mut self: Box<Self>, first: usize) -> Row {
        let mut thread = first;
        loop {
            self.take_turn(thread);
            match self.whose_turn(None) {
                None => return Row::Over(self),
                Some(next) if self.is_waiting(next) => return Row::Next(self, next),
                Some(next) => thread = next,
            }
        }
    }

    /// Gives the baton to a thread that waits within a callback.
    fn give(mut self: Box<Self>, thread: usize) {
        if let Some(to) = self.turns.as_mut().and_then(|turns| turns.waiting[thread].take()) {
            // Who waits is there.
            let _ = to.send(self);
        }
    }

    /// Turns on a stack of their own, and on to the next.
    fn row_apart(self: Box<Self>, first: usize) {
        let run = move || match self.row(first) {
            Row::Next(whole, next) => whole.give(next),
            Row::Over(mut whole) => {
                if let Some(hub) = whole.turns.as_mut().and_then(|turns| turns.hub.take()) {
                    let _ = hub.send(whole);
                }
            }
        };
        if let Err(error) = thread::Builder::new().stack_size(STACK_BYTES).spawn(run) {
            std::panic::resume_unwind(Box::new(format!("no thread for a worker: {error}")));
        }
    }

    /// The thread whose turn it is is about to touch what is shared: perhaps others come in between.
    fn let_others(mut self: Box<Self>) -> Box<Self> {
        let Some(me) = self.turns.as_ref().map(|turns| turns.current) else { return self };
        let next = self.whose_turn(Some(me)).unwrap_or(me);
        if next == me {
            return self;
        }
        let aside = self.put_aside();
        let is_waiting = self.is_waiting(next);
        let (give, back) = channel();
        if let Some(turns) = &mut self.turns {
            turns.waiting[me] = Some(give);
        }
        if is_waiting {
            self.give(next)
        } else {
            self.row_apart(next)
        }
        let mut whole = wait(&back);
        if let Some(turns) = &mut whole.turns {
            turns.current = me;
        }
        whole.bring_back(aside);
        whole
    }

    fn put_aside(&mut self) -> Aside {
        Aside {
            noting: self.host.noting.take(),
            fatal: self.host.fatal.take(),
            apart: mem::take(&mut self.host.apart),
            ended: mem::take(&mut self.ended),
            asked: mem::take(&mut self.asked),
            telling: mem::take(&mut self.telling),
        }
    }

    fn bring_back(&mut self, aside: Aside) {
        let Aside { noting, fatal, apart, ended, asked, telling } = aside;
        self.host.noting = noting.filter(|id| self.is_live(*id));
        self.host.fatal = fatal;
        // What others left for the next stream comes after what was there.
        let left = mem::replace(&mut self.host.apart, apart);
        self.host.apart.append(left);
        (self.ended, self.asked, self.telling) = (ended, asked, telling);
    }
}

impl Beside for Replay {
    fn pause(mut self: Box<Self>, host: Box<Host>) -> Box<Host> {
        self.host = host;
        let mut whole = self.let_others();
        let mut host = mem::replace(&mut whole.host, Host::idle());
        host.beside = Some(whole);
        host
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

/// Waits for the baton.
fn wait(back: &Receiver<Box<Replay>>) -> Box<Replay> {
    match back.recv() {
        Ok(whole) => whole,
        // Who had it panicked and has said why.
        Err(_) => std::panic::resume_unwind(Box::new("another thread of the replay panicked")),
    }
}
