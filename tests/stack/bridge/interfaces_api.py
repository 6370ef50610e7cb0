"""The EC2 API in front of interfaces.py, and the CloudFormation types around it that the emulator refuses."""
import random

import emulator as emu
import interfaces
from context import LOCK

FILTERS = {
    "network-interface-id": lambda r: [r["NetworkInterfaceId"]],
    "private-ip-address": lambda r: [r["PrivateIpAddress"]],
    "addresses.private-ip-address": lambda r: [r["PrivateIpAddress"]],
    "status": lambda r: [r["Status"]],
    "subnet-id": lambda r: [r["SubnetId"]],
    "vpc-id": lambda r: [r["VpcId"]],
    "group-id": lambda r: [g["GroupId"] for g in r["Groups"]],
    "attachment.instance-id": lambda r: [(r["Attachment"] or {}).get("InstanceId")],
    "attachment.attachment-id": lambda r: [(r["Attachment"] or {}).get("AttachmentId")],
    "attachment.status": lambda r: [(r["Attachment"] or {}).get("Status")],
    "attachment.device-index": lambda r: [str((r["Attachment"] or {}).get("DeviceIndex", ""))],
}


def p(params, key):
    return emu.ec2_param(params, key)


def refusal(refused):
    return emu.ec2_error(refused.args[0], refused.args[1], 400)


def done(action, inner="<return>true</return>"):
    return emu.ec2_xml(200, f"{action}Response", inner)


def missing(interface_id):
    if not interfaces.ID.match(interface_id or ""):
        return emu.ec2_error("InvalidNetworkInterfaceID.Malformed", f'Invalid id: "{interface_id}"', 400)
    return emu.ec2_error("InvalidNetworkInterfaceID.NotFound",
                         f"The networkInterface ID '{interface_id}' does not exist", 400)


def create(params):
    address = p(params, "PrivateIpAddress")
    with LOCK:
        if address and any(r["PrivateIpAddress"] == address for r in emu.interfaces.values()):
            return emu.ec2_error("InvalidIPAddress.InUse", f"Address {address} is in use.", 400)
        record = interfaces.new(p(params, "SubnetId"), address, emu.ec2_members(params, "SecurityGroupId"),
                                p(params, "Description"))
    emu.ec2_tag_specs(params, "network-interface", record["NetworkInterfaceId"])
    return done("CreateNetworkInterface", interfaces.xml(record, "networkInterface"))


def delete(params):
    interface_id = p(params, "NetworkInterfaceId")
    with LOCK:
        record = emu.interfaces.get(interface_id)
        if record is None:
            return missing(interface_id)
        if record["Attachment"]:
            return emu.ec2_error("InvalidNetworkInterface.InUse",
                                 f"Network interface '{interface_id}' is currently in use.", 400)
        emu.interfaces.pop(interface_id)
    return done("DeleteNetworkInterface")


def filters_of(params):
    n = 1
    while p(params, f"Filter.{n}.Name"):
        values, m = [], 1
        while p(params, f"Filter.{n}.Value.{m}"):
            values.append(p(params, f"Filter.{n}.Value.{m}"))
            m += 1
        yield p(params, f"Filter.{n}.Name"), values
        n += 1


def matches(record, wanted):
    for name, values in wanted:
        if name.startswith("tag:"):
            found = [t["Value"] for t in emu.ec2_tags.get(record["NetworkInterfaceId"], []) if t["Key"] == name[4:]]
        else:
            found = FILTERS[name](record)
        if not any(v in found for v in values):
            return False
    return True


def describe(params):
    ids, wanted = emu.ec2_members(params, "NetworkInterfaceId"), list(filters_of(params))
    for name, _ in wanted:
        if name not in FILTERS and not name.startswith("tag:"):
            return emu.ec2_error("InvalidParameterValue", f"The filter '{name}' is invalid", 400)
    with LOCK:
        for interface_id in ids:
            if interface_id not in emu.interfaces:
                return missing(interface_id)
        items = "".join(interfaces.xml(r) for r in emu.interfaces.values()
                        if (not ids or r["NetworkInterfaceId"] in ids) and matches(r, wanted))
    return done("DescribeNetworkInterfaces", f"<networkInterfaceSet>{items}</networkInterfaceSet>")


def attach(params):
    try:
        attachment_id = interfaces.attach(p(params, "NetworkInterfaceId"), p(params, "InstanceId"),
                                          int(p(params, "DeviceIndex") or 1))
    except interfaces.Refused as refused:
        return refusal(refused)
    return done("AttachNetworkInterface", f"<attachmentId>{attachment_id}</attachmentId><networkCardIndex>0</networkCardIndex>")


def detach(params):
    try:
        interfaces.detach(p(params, "AttachmentId"), p(params, "Force") == "true")
    except interfaces.Refused as refused:
        return refusal(refused)
    return done("DetachNetworkInterface")


def modify(params):
    interface_id = p(params, "NetworkInterfaceId")
    with LOCK:
        record = emu.interfaces.get(interface_id)
        if record is None:
            return missing(interface_id)
        wanted = emu.ec2_members(params, "SecurityGroupId")
        for group in wanted:
            if group not in emu.security_groups:
                return emu.ec2_error("InvalidGroup.NotFound", f"The security group '{group}' does not exist", 400)
        attachment_id = p(params, "Attachment.AttachmentId")
        if attachment_id:
            if (record["Attachment"] or {}).get("AttachmentId") != attachment_id:
                return emu.ec2_error("InvalidAttachmentID.NotFound",
                                     f"The networkInterface attachment '{attachment_id}' does not exist", 400)
            record["Attachment"]["DeleteOnTermination"] = p(params, "Attachment.DeleteOnTermination") == "true"
        if wanted:
            record["Groups"] = interfaces.groups_of(wanted)
        if p(params, "SourceDestCheck.Value"):
            record["SourceDestCheck"] = p(params, "SourceDestCheck.Value") == "true"
        if p(params, "Description.Value"):
            record["Description"] = p(params, "Description.Value")
        interfaces.refresh(record)
    return done("ModifyNetworkInterfaceAttribute")


def then_refresh(action):
    original = emu.original_ec2_action(action)

    def act(params):
        response = original(params)
        interfaces.security_groups_changed()
        return response
    return act


# --- CloudFormation ----------------------------------------------------------------------------------------------

def template_tags(resource, props):
    emu.ec2_tags[resource] = [{"Key": str(t["Key"]), "Value": str(t["Value"])} for t in props.get("Tags") or []]


def template_interface(logical_id, props, stack):
    address = props.get("PrivateIpAddress")
    if address and any(r["PrivateIpAddress"] == address for r in emu.interfaces.values()):
        raise ValueError(f"Address {address} is in use (InvalidIPAddress.InUse)")
    record = interfaces.new(props.get("SubnetId"), address, props.get("GroupSet") or [], props.get("Description", ""),
                            source_check=str(props.get("SourceDestCheck", True)).lower() != "false")
    template_tags(record["NetworkInterfaceId"], props)
    return record["NetworkInterfaceId"], interface_attributes(record)


def interface_attributes(record):
    return {"Id": record["NetworkInterfaceId"], "PrimaryPrivateIpAddress": record["PrivateIpAddress"],
            "VpcId": record["VpcId"], "SecondaryPrivateIpAddresses": []}


def template_interface_update(physical_id, old, new, stack):
    record = emu.interfaces[physical_id]
    if new.get("GroupSet") != old.get("GroupSet"):
        record["Groups"] = interfaces.groups_of(new.get("GroupSet") or [])
        interfaces.refresh(record)
    record["Description"] = new.get("Description", "")
    template_tags(physical_id, new)
    return physical_id, interface_attributes(record)


def template_interface_delete(physical_id, props):
    with LOCK:
        record = emu.interfaces.pop(physical_id, None)
        if record:
            record["Attachment"] = None
            interfaces.refresh(record)


def rule_id():
    return "sgr-" + "".join(random.choices("0123456789abcdef", k=17))


def template_rule(permissions_of):
    def create_rule(logical_id, props, stack):
        group = emu.security_groups.get(props.get("GroupId"))
        if group is None:
            raise ValueError(f"The security group '{props.get('GroupId')}' does not exist (InvalidGroup.NotFound)")
        rule = emu.security_group_permissions([props])[0]
        rule["SecurityGroupRuleId"] = rule_id()
        group[permissions_of].append(rule)
        interfaces.security_groups_changed()
        return rule["SecurityGroupRuleId"], {"Id": rule["SecurityGroupRuleId"]}
    return create_rule


def template_rule_delete(permissions_of):
    def delete_rule(physical_id, props):
        group = emu.security_groups.get(props.get("GroupId"))
        if group:
            group[permissions_of][:] = [r for r in group[permissions_of] if r.get("SecurityGroupRuleId") != physical_id]
            interfaces.security_groups_changed()
    return delete_rule


def template_volume(logical_id, props, stack):
    volume = emu.new_volume(int(props.get("Size") or 8), props.get("VolumeType", "gp3"),
                            str(props.get("Encrypted", "false")).lower() == "true")
    template_tags(volume, props)
    return volume, {"VolumeId": volume}


def template_attachment(logical_id, props, stack):
    attachment_id = interfaces.attach(props["NetworkInterfaceId"], props["InstanceId"], int(props["DeviceIndex"]))
    return attachment_id, {"AttachmentId": attachment_id}


ACTIONS = ("CreateNetworkInterface", "DeleteNetworkInterface", "DescribeNetworkInterfaces", "AttachNetworkInterface",
           "DetachNetworkInterface", "ModifyNetworkInterfaceAttribute")


def install():
    emu.interface_xml(lambda record, tag="item": interfaces.xml(record, tag))
    emu.ec2_actions({
        "CreateNetworkInterface": create, "DeleteNetworkInterface": delete, "DescribeNetworkInterfaces": describe,
        "AttachNetworkInterface": attach, "DetachNetworkInterface": detach, "ModifyNetworkInterfaceAttribute": modify,
        "AuthorizeSecurityGroupIngress": then_refresh("AuthorizeSecurityGroupIngress"),
        "RevokeSecurityGroupIngress": then_refresh("RevokeSecurityGroupIngress"),
    })
    emu.resource_type("AWS::EC2::NetworkInterface", template_interface, template_interface_delete,
                      template_interface_update, ("SubnetId", "PrivateIpAddress", "InterfaceType"))
    for name, permissions in (("AWS::EC2::SecurityGroupIngress", "IpPermissions"),
                              ("AWS::EC2::SecurityGroupEgress", "IpPermissionsEgress")):
        emu.resource_type(name, template_rule(permissions), template_rule_delete(permissions))
    emu.resource_type("AWS::EC2::Volume", template_volume, lambda physical_id, props: emu.delete_volume(physical_id))
    emu.resource_type("AWS::EC2::NetworkInterfaceAttachment", template_attachment,
                      lambda physical_id, props: interfaces.detach(physical_id, True))


