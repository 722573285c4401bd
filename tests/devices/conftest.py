from boards import (  # noqa: F401 - fixtures
    console,
    devices_home,
    entry,
    fake_ssh,
    quick_job,
    sshd,
    wheels,
)
