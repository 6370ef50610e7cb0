"""Elastic network interfaces: one attachment at a time, attached and detached in their own time, freed when their instance
ends; and, while one is attached to an instance and a group of it admits clients, traffic that really flows to that instance.
"""
import random
import re
from xml.sax.saxutils import escape

import emulator as emu
import forwarder
import machines
from context import ACCOUNT, LOCK, PORTS, REGION, after, knob

ID = re.compile(r"^eni-[0-9a-f]{8,17}$")


def hex_id(prefix):
    return prefix + "".join(random.choices("0123456789abcdef", k=17))


def groups_of(ids):
    return [{"GroupId": i, "GroupName": (emu.security_groups.get(i) or {}).get("GroupName", i)} for i in ids]


def new(subnet_id, address, group_ids, description="", delete_on_termination=False, source_check=True):
    import sandbox
    subnet = emu.subnet(subnet_id)
    record = {
        "NetworkInterfaceId": hex_id("eni-"), "SubnetId": subnet_id or emu.default_subnet(),
        "VpcId": subnet.get("VpcId", "vpc-00000001"), "AvailabilityZone": f"{REGION}a", "Description": description,
        "OwnerId": ACCOUNT, "Status": "available", "PrivateIpAddress": address or sandbox.allocate_address(),
        "InterfaceType": "interface", "SourceDestCheck": source_check,
        "MacAddress": "02:" + ":".join(f"{random.randint(0, 255):02x}" for _ in range(5)),
        "Groups": groups_of(group_ids), "Attachment": None, "_delete": delete_on_termination,
    }
    emu.interfaces[record["NetworkInterfaceId"]] = record
    return record


def primary(instance):
    """The interface every instance is born with (index 0); no traffic is forwarded for it."""
    record = new(instance["SubnetId"], instance["PrivateIpAddress"], [g["GroupId"] for g in instance["SecurityGroups"]],
                 delete_on_termination=True)
    record["Status"] = "in-use"
    record["Attachment"] = attachment(instance["InstanceId"], 0, True, "attached")
    return record


def attachment(instance_id, index, delete, status):
    return {"AttachmentId": hex_id("eni-attach-"), "InstanceId": instance_id, "DeviceIndex": index, "Status": status,
            "AttachTime": emu.iso_now(), "DeleteOnTermination": delete}


def of_instance(instance_id):
    return [r for r in emu.interfaces.values() if (r.get("Attachment") or {}).get("InstanceId") == instance_id]


# --- the life of an attachment -----------------------------------------------------------------------------------

class Refused(Exception):
    """An EC2 error: (code, message)."""


def attach(interface_id, instance_id, index):
    with LOCK:
        record = emu.interfaces.get(interface_id)
        if record is None:
            raise Refused("InvalidNetworkInterfaceID.NotFound", f"The networkInterface ID '{interface_id}' does not exist")
        state = machines.state(instance_id)
        if state is None:
            raise Refused("InvalidInstanceID.NotFound", f"The instance ID '{instance_id}' does not exist")
        if record["Attachment"] is not None:
            raise Refused("InvalidNetworkInterface.InUse", f"Interface: {interface_id} in use.")
        if state not in ("running", "stopped"):
            raise Refused("IncorrectState", f"Instance '{instance_id}' is not 'running' or 'stopped'.")
        if any(r["Attachment"]["DeviceIndex"] == index for r in of_instance(instance_id)):
            raise Refused("InvalidParameterValue",
                          f"Instance '{instance_id}' already has an interface attached at device index '{index}'.")
        record["Status"] = "in-use"
        record["Attachment"] = attachment(instance_id, index, False, "attaching")
        attachment_id = record["Attachment"]["AttachmentId"]
    after(knob("attach_ms"), attached, record, attachment_id)
    return attachment_id


def attached(record, attachment_id):
    with LOCK:
        current = record["Attachment"]
        if current and current["AttachmentId"] == attachment_id and current["Status"] == "attaching":
            current["Status"] = "attached"
            refresh(record)


def detach(attachment_id, force=False):
    with LOCK:
        record = next((r for r in emu.interfaces.values()
                       if (r.get("Attachment") or {}).get("AttachmentId") == attachment_id), None)
        if record is None:
            raise Refused("InvalidAttachmentID.NotFound", f"The networkInterface attachment '{attachment_id}' does not exist")
        if record["Attachment"]["DeviceIndex"] == 0:
            raise Refused("OperationNotPermitted", "The network interface at device index 0 cannot be detached.")
        if record["Attachment"]["Status"] == "detaching" and not force:
            raise Refused("IncorrectState", f"Attachment '{attachment_id}' is not 'attached'.")
        record["Status"] = record["Attachment"]["Status"] = "detaching"
        refresh(record)
        if not force and record["Attachment"]["InstanceId"] in machines.HUNG:
            return  # its system never agrees; only force, or its end, frees the interface
    after(0 if force else knob("detach_ms"), detached, record, attachment_id)


def detached(record, attachment_id):
    with LOCK:
        if (record["Attachment"] or {}).get("AttachmentId") == attachment_id:
            record["Attachment"], record["Status"] = None, "available"
            refresh(record)


def instance_ends(instance_id):
    """The instance shuts down: what it had on the wire is cut at once."""
    with LOCK:
        for record in of_instance(instance_id):
            record["Attachment"]["Status"] = "detaching"
            refresh(record)


def free(instance_id):
    """The instance is terminated: its interfaces are deleted or available again."""
    with LOCK:
        for record in of_instance(instance_id):
            delete = record["Attachment"]["DeleteOnTermination"]
            record["Attachment"], record["Status"] = None, "available"
            if delete:
                emu.interfaces.pop(record["NetworkInterfaceId"], None)
            refresh(record)


def admitted(record, port):
    """Whom the security groups of the interface let in on a port: True for any address, else the groups of clients."""
    clients = set()
    for group in record["Groups"]:
        for rule in (emu.security_groups.get(group["GroupId"]) or {}).get("IpPermissions", []):
            low, high = int(rule.get("FromPort", -1)), int(rule.get("ToPort", -1))
            if str(rule.get("IpProtocol")) != "-1" and not low <= port <= high:
                continue
            if any(rule.get(k) for k in ("IpRanges", "Ipv6Ranges", "PrefixListIds")):
                return True
            clients |= {pair.get("GroupId") for pair in rule.get("UserIdGroupPairs") or []}
    return clients


def refresh(record):
    """Make what flows through the interface match what it is."""
    current = record["Attachment"]
    live = current and current["Status"] == "attached" and current["DeviceIndex"] > 0
    if not live:
        forwarder.stop(record["NetworkInterfaceId"])
    else:
        forwarder.start(record["NetworkInterfaceId"], record["PrivateIpAddress"], current["InstanceId"],
                        machines.address(current["InstanceId"]), {port: admitted(record, port) for port in PORTS})


def security_groups_changed():
    with LOCK:
        for record in emu.interfaces.values():
            refresh(record)


# --- on the wire -------------------------------------------------------------------------------------------------

def tags_xml(resource):
    items = "".join(f"<item><key>{escape(t['Key'])}</key><value>{escape(t['Value'])}</value></item>"
                    for t in emu.ec2_tags.get(resource, []))
    return f"<tagSet>{items}</tagSet>"


def attachment_xml(current, tag="attachment"):
    return (f"<{tag}><attachmentId>{current['AttachmentId']}</attachmentId><instanceId>{current['InstanceId']}</instanceId>"
            f"<instanceOwnerId>{ACCOUNT}</instanceOwnerId><deviceIndex>{current['DeviceIndex']}</deviceIndex>"
            f"<networkCardIndex>0</networkCardIndex><status>{current['Status']}</status>"
            f"<attachTime>{current['AttachTime']}</attachTime>"
            f"<deleteOnTermination>{str(current['DeleteOnTermination']).lower()}</deleteOnTermination></{tag}>")


def fields(record, with_attachment=True):
    groups = "".join(f"<item><groupId>{g['GroupId']}</groupId><groupName>{escape(g['GroupName'])}</groupName></item>"
                     for g in record["Groups"])
    ip = record["PrivateIpAddress"]
    return (f"<networkInterfaceId>{record['NetworkInterfaceId']}</networkInterfaceId><subnetId>{record['SubnetId']}</subnetId>"
            f"<vpcId>{record['VpcId']}</vpcId><availabilityZone>{record['AvailabilityZone']}</availabilityZone>"
            f"<description>{escape(record['Description'])}</description><ownerId>{record['OwnerId']}</ownerId>"
            f"<requesterManaged>false</requesterManaged><status>{record['Status']}</status>"
            f"<macAddress>{record['MacAddress']}</macAddress><privateIpAddress>{ip}</privateIpAddress>"
            f"<sourceDestCheck>{str(record['SourceDestCheck']).lower()}</sourceDestCheck>"
            f"<interfaceType>{record['InterfaceType']}</interfaceType><groupSet>{groups}</groupSet>"
            + (attachment_xml(record["Attachment"]) if record["Attachment"] and with_attachment else "")
            + f"<privateIpAddressesSet><item><privateIpAddress>{ip}</privateIpAddress><primary>true</primary></item>"
              f"</privateIpAddressesSet>{tags_xml(record['NetworkInterfaceId'])}")


def xml(record, tag="item"):
    return f"<{tag}>{fields(record)}</{tag}>"


def instance_xml(instance_id):
    """networkInterfaceSet of DescribeInstances."""
    items = "".join(f"<item>{fields(r, False)}{attachment_xml(r['Attachment'])}</item>" for r in
                    sorted(of_instance(instance_id), key=lambda r: r["Attachment"]["DeviceIndex"]))
    return f"<networkInterfaceSet>{items}</networkInterfaceSet>"
