//! Reasons for which a quota or a deployment is stopped, as numbers in plain data.

use crate::error::ErrorKind;
use crate::types::rate_limit::{FailureClass, Refused};

/// The reasons; a number in plain data is an index in it. The first one of a class stands for those that are not in it.
const STOPS: [(FailureClass, ErrorKind); 4] = [
    (FailureClass::QuotaFatal, ErrorKind::RateLimit),
    (FailureClass::Auth, ErrorKind::Authentication),
    (FailureClass::Auth, ErrorKind::PermissionDenied),
    (FailureClass::Auth, ErrorKind::NotFound),
];

/// Returns the class of a failure and the kind of its error from their number; `None` for a number that has no meaning.
pub(super) fn stop_of(number: u32) -> Option<(FailureClass, ErrorKind)> {
    STOPS.get(number as usize).copied()
}

/// Returns the number of a failure's class and the kind of its error; `None` for a class that stops nothing.
pub(super) fn number_of(class: FailureClass, kind: Option<ErrorKind>) -> Option<u32> {
    let of_class = |stop: &(FailureClass, ErrorKind)| stop.0 == class;
    let exact = STOPS.iter().position(|stop| of_class(stop) && Some(stop.1) == kind);
    exact.or_else(|| STOPS.iter().position(of_class)).map(|index| index as u32)
}

/// Returns the kind of the error by which something is refused.
pub(super) fn kind_of(refused: Refused) -> ErrorKind {
    match refused {
        Refused::Key => ErrorKind::Authentication,
        Refused::Access => ErrorKind::PermissionDenied,
        Refused::Model => ErrorKind::NotFound,
    }
}
