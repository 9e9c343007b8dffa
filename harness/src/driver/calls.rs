//! Telling filters what came of their calls (`CALL-05` to `CALL-07`, `CALL-22` to `CALL-24`).

use super::Replay;
use crate::headers::Headers;
use crate::host::{Call, Ending, Event};

/// The status code that stands for an answer that broke off (`CALL-07`).
const BROKEN: u32 = 11;

impl Replay {
    /// Tells a filter's root what came of a call, and the report how it ended.
    pub(super) fn deliver(&mut self, call: Call) {
        let Call { root, token, callout, event, ending } = call;
        if let Some(ending) = ending {
            self.end_callout(callout, ending);
        }
        self.call_root(root, |vm, host, id| {
            let count = |headers: &Headers| u32::try_from(headers.len()).unwrap_or(u32::MAX);
            let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(u32::MAX);
            match event {
                Event::Http(Some(answer)) => {
                    let (headers, trailers) = (count(&answer.headers), count(&answer.trailers));
                    let body = length(&answer.body);
                    vm.guest().call = Some(answer);
                    let called = vm.call(
                        host,
                        id,
                        |all| &all.http_call_response,
                        (id, token, headers, body, trailers),
                    );
                    vm.guest().call = None;
                    called
                }
                Event::Http(None) => {
                    vm.guest().status = (BROKEN, b"reset".to_vec());
                    let called = vm.call(host, id, |all| &all.http_call_response, (id, token, 0, 0, 0));
                    vm.guest().status.1.clear();
                    called
                }
                _ => Ok(None),
            }
        });
    }

    /// Writes the end of a call into the outcome of the exchange that made it, if that is still going on.
    fn end_callout(&mut self, id: u64, ending: Ending) {
        if let Some(callout) = self.host.callouts.iter_mut().find(|callout| callout.id == id) {
            ending.note(callout);
        }
    }
}
