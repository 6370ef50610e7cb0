"""CloudFormation types that the emulator refuses or loses something of, and that are not another engine's own."""
import emulator as emu
import emulator_events


def recorded(prefix, attributes=lambda physical_id, props: {}):
    """A type that nothing here acts on: accepted, named, deletable, and listed as such in tests/README.md."""
    def create(logical_id, props, stack):
        physical_id = f"{stack}-{logical_id}" if prefix is None else props.get(prefix) or f"{stack}-{logical_id}"
        return physical_id, attributes(physical_id, props)

    def update(physical_id, old, new, stack):
        return physical_id, attributes(physical_id, new)
    return create, lambda physical_id, props: None, update


RECORDED = {"AWS::CloudWatch::CompositeAlarm": "AlarmName", "AWS::DLM::LifecyclePolicy": None,
            "AWS::EC2::PlacementGroup": None}


def install():
    for name, key in RECORDED.items():
        emu.resource_type(name, *recorded(key, lambda i, p: {"Arn": f"arn:aws:cloudwatch:us-east-1:{emu.ACCOUNT}:alarm:{i}"}))
    emu.extend_resource_type("AWS::Lambda::Function", emulator_events.complete_function)
