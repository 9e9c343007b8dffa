//! Another call of this VM at once, on a fresh stack: through a queue that only it knows, which the host answers from its event loop
//! (`SHR-13`). A tick would come a millisecond later at the soonest, and some 4 ms where the host's clock is coarse.

use std::cell::Cell;

use super::{HostError, abi, logger};
use crate::config::joined;

/// The way to another call. Registered when it is first needed, as most plugins never are in need of it.
#[derive(Debug, Default)]
pub(crate) struct Again {
    queue: Cell<Queue>,
    /// A call has been asked for and has not come.
    asked: Cell<bool>,
}

#[derive(Clone, Copy, Debug, Default)]
enum Queue {
    #[default]
    Unknown,
    Token(u32),
    /// The host has no queues for this plugin, as under restricted capabilities.
    Refused,
}

impl Again {
    /// Asks for a call, of the root context that this is called in. Without one the tick is all there is.
    pub(crate) fn ask(&self) {
        if self.asked.get() {
            return;
        }
        let token = match self.queue.get() {
            Queue::Token(token) => token,
            Queue::Refused => return,
            Queue::Unknown => match register() {
                Ok(token) => {
                    self.queue.set(Queue::Token(token));
                    token
                }
                Err(error) => {
                    logger::say(log::Level::Debug, || joined("no queue: ", &error.text(), ""));
                    self.queue.set(Queue::Refused);
                    return;
                }
            },
        };
        // Before the call: nothing says that the host may not answer within it.
        self.asked.set(true);
        if abi::enqueue_shared_queue(token, b"").is_err() {
            self.asked.set(false);
            self.queue.set(Queue::Refused);
        }
    }

    /// Whether a queue's call is the one that has been asked for; what is in the queue is taken out of it.
    pub(crate) fn comes(&self, token: u32) -> bool {
        if !matches!(self.queue.get(), Queue::Token(own) if own == token) {
            return false;
        }
        self.asked.set(false);
        // It is empty, or what was put into it is of no interest: only that it is not kept for ever.
        let _ = abi::dequeue_shared_queue(token);
        true
    }
}

/// A queue that no other worker and no other plugin registers, as the last who does gets all calls (`SHR-10`): 128 random bits name it.
fn register() -> Result<u32, HostError> {
    let (high, low) = (abi::random()?.to_le_bytes(), abi::random()?.to_le_bytes());
    abi::register_shared_queue(&[b"weir.again.".as_slice(), &high, &low].concat())
}
