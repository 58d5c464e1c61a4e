using System.Net;
using System.Net.Sockets;

namespace Slipway.Tests.Hosting;

/// <summary>
/// Ports for servers that have to be told theirs. They lie below those that the kernel gives to outgoing connections and to whoever asks for any port
/// (from 32768 on with Linux, from 16000 with gVisor), so that none of these takes one before its server does, or while its server starts again.
/// </summary>
public static class FreePort
{
    private const int First = 11_000;
    private const int Count = 5_000;

    // Each process begins elsewhere, and gives none twice before all were given.
    private static int _last = Random.Shared.Next(Count);

    /// <summary>A port on which nothing listens.</summary>
    public static int Next()
    {
        for (var i = 0; i < Count; i++)
        {
            var port = First + (Interlocked.Increment(ref _last) % Count);
            using var listener = new TcpListener(IPAddress.Any, port);
            try
            {
                listener.Start();
                return port;
            }
            catch (SocketException e) when (e.SocketErrorCode is SocketError.AddressAlreadyInUse)
            {
            }
        }

        throw new InvalidOperationException($"Each of the ports {First} to {First + Count - 1} is in use.");
    }
}
