using System.Net;
using System.Net.Sockets;

namespace Slipway.Tests.Hosting;

/// <summary>
/// Ports for servers that have to be told theirs. They lie below those that the kernel gives to outgoing connections and to whoever asks for any port
/// (from 32768 on with Linux, from 16000 with gVisor), so that none of these takes one before its server does, or while its server starts again.
/// On Linux a name is held for each as long as this process lives, so that another process that asks gets others.
/// </summary>
public static class FreePort
{
    private const int First = 11_000;
    private const int Count = 5_000;

    private static readonly List<Socket> Held = [];

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
                if (TryHold(port))
                {
                    return port;
                }
            }
            catch (SocketException e) when (e.SocketErrorCode is SocketError.AddressAlreadyInUse)
            {
            }
        }

        throw new InvalidOperationException($"Each of the ports {First} to {First + Count - 1} is in use.");
    }

    private static bool TryHold(int port)
    {
        if (!OperatingSystem.IsLinux())
        {
            return true;
        }

        var name = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        try
        {
            name.Bind(new UnixDomainSocketEndPoint($"\0slipway-port-{port}"));
        }
        catch (SocketException e) when (e.SocketErrorCode is SocketError.AddressAlreadyInUse)
        {
            name.Dispose();
            return false;
        }

        lock (Held)
        {
            Held.Add(name);
        }

        return true;
    }
}
