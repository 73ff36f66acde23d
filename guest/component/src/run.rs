//! What an acquisition waits for: whoever leads, the authority, the time.

use symbolon_protocol::acquisition::{Acquisition, Action, Event};

use crate::shell::{self, Shell, Step};
use crate::words::acquisition::{AccessToken, AuthorizationRequest, Context, Request, SignIn};
use crate::words::types::Error;
use crate::words::{cache, transport};
use crate::{convert, http};

/// Runs one acquisition.
pub(crate) fn acquire(request: Request, context: Option<Context>) -> Result<AccessToken, Error> {
    shell::acquired(run(shell::start(request, context)?))
}

/// Begins a sign-in.
pub(crate) fn authorize(sign_in: SignIn, context: Option<Context>) -> Result<AuthorizationRequest, Error> {
    shell::begun(run(shell::start_sign_in(sign_in, context)?))
}

fn run((mut acquisition, mut action): (Acquisition, Action)) -> Action {
    let mut shell = Shell::default();
    loop {
        let event = match shell.step(action) {
            Step::Happened(event) => event,
            Step::Find(lookup) => Event::Found(shell.found(cache::find(&convert::lookup(lookup)))),
            Step::Send(request) => Event::Answered(http::send(request, shell.credential.as_ref())),
            Step::Wait(milliseconds) => Event::Waited { now: transport::wait(milliseconds) },
            Step::Ended(end) => return end,
        };
        action = acquisition.handle(event);
    }
}
