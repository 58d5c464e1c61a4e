using System.Net;
using System.Net.Sockets;

namespace Slipway.Registry.Webhooks;

/// <summary>Tells addresses of the internet from those that only this machine or its network can reach.</summary>
internal static class PublicAddress
{
    // IANA's special-purpose registries: https://www.iana.org/assignments/iana-ipv4-special-registry, …/iana-ipv6-special-registry
    private static readonly IPNetwork[] Special =
    [
        .. ((string[])
        [
            "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24",
            "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
            // Of IPv6 only 2000::/3 is given to the internet; within it are tunnels and examples, which carry other addresses or none.
            "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20",
        ]).Select(IPNetwork.Parse),
    ];

    private static readonly IPNetwork Internet6 = IPNetwork.Parse("2000::/3");

    public static bool Is(IPAddress address)
    {
        if (address.IsIPv4MappedToIPv6)
        {
            address = address.MapToIPv4();
        }

        return (address.AddressFamily is AddressFamily.InterNetwork || Internet6.Contains(address)) && !Special.Any(network => network.Contains(address));
    }
}
