use std::time::Duration;

use bytemuck::Zeroable;

use super::*;

#[test]
fn fresh_controller_admits() {
    let mut controller = Controller::zeroed();
    let now = Duration::from_secs(1);
    assert!(controller.earliest(now) <= now);
    controller.admitted(now, None);
    controller.finished(now + Duration::from_millis(50), now, Finish::Refused { retry_after: None }, None, None);
    assert!(controller.earliest(now) > now + Duration::from_millis(50));
}
