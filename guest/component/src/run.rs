//! What an acquisition waits for: whoever leads, the authority, the time.

use symbolon_protocol::acquisition::Event;

use crate::shell::{self, Shell, Step};
use crate::words::acquisition::{AccessToken, Context, Request};
use crate::words::types::Error;
use crate::words::{cache, transport};
use crate::{convert, http};

/// Runs one acquisition.
pub(crate) fn acquire(request: Request, context: Option<Context>) -> Result<AccessToken, Error> {
    let (mut acquisition, mut action) = shell::start(request, context)?;
    let mut shell = Shell::default();
    loop {
        let event = match shell.step(action) {
            Step::Happened(event) => event,
            Step::Find(lookup) => Event::Found(shell.found(cache::find(&convert::lookup(lookup)))),
            Step::Send(request) => Event::Answered(http::send(request, shell.credential.as_ref())),
            Step::Wait(milliseconds) => Event::Waited { now: transport::wait(milliseconds) },
            Step::Finished(result) => {
                return result.map(|token| convert::access_token(*token)).map_err(convert::error);
            }
        };
        action = acquisition.handle(event);
    }
}
