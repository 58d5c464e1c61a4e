using System.Diagnostics;
using System.Globalization;
using System.Net.Sockets;
using System.Runtime.InteropServices;
using System.Text;

namespace Slipway.Bench;

/// <summary>
/// A fixed rate, evenly spread: a request every so many microseconds, on one connection after the other, whatever the answers do. Latency counts from when
/// a request should have been sent. Load generators that keep to a rate by a timer of milliseconds send the requests of each tick at once, which measures a full load in small pieces.
/// </summary>
internal static partial class PacedLoad
{
    private const int TimerSlackOption = 29;
    private const int MonotonicClock = 1;
    private const int AbsoluteTime = 1;

    /// <summary>Runs it; the first tenth does not count.</summary>
    public static async Task<Load> RunAsync(MeasuredProcess server, string path, string body, int perSecond, BenchSettings settings)
    {
        var json = await File.ReadAllBytesAsync(body);
        var head = string.Create(CultureInfo.InvariantCulture, $"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{server.Address.Port}\r\nContent-Type: application/json\r\nContent-Length: {json.Length}\r\n\r\n");
        byte[] request = [.. Encoding.ASCII.GetBytes(head), .. json];
        var count = perSecond * settings.Seconds;
        var latencies = new long[count];
        Exception? failure = null;
        var cpuBefore = server.CpuMicroseconds();
        var start = Stopwatch.GetTimestamp() + (Stopwatch.Frequency / 20);
        var threads = Enumerable.Range(0, settings.Connections).Select(connection => new Thread(() =>
        {
            try
            {
                Send(server.Address.Port, request, start, perSecond, latencies, connection, settings.Connections);
            }
            catch (Exception e)
            {
                failure = e;
            }
        })).ToList();
        threads.ForEach(thread => thread.Start());
        threads.ForEach(thread => thread.Join());
        var seconds = Stopwatch.GetElapsedTime(start).TotalSeconds;
        var cpu = server.CpuMicroseconds() - cpuBefore;
        if (failure is not null)
        {
            throw new InvalidOperationException($"A request to {server.Address}{path} failed, so that the figures would mean nothing.", failure);
        }

        var sorted = latencies[(count / 10)..];
        Array.Sort(sorted);
        double At(double share) => sorted[(int)(share * (sorted.Length - 1))] * 1e3 / Stopwatch.Frequency;
        return new Load(count, count / seconds, cpu / count, At(0.5), At(0.99));
    }

    private static void Send(int port, byte[] request, long start, int perSecond, long[] latencies, int first, int step)
    {
        _ = SetOption(TimerSlackOption, 1, 0, 0, 0); // The system may wake a thread 50 us late otherwise.
        using var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        socket.Connect("127.0.0.1", port);
        var answer = new byte[8192];
        for (var i = first; i < latencies.Length; i += step)
        {
            var intended = start + (long)(i * (double)Stopwatch.Frequency / perSecond);
            var time = new TimeSpec { Seconds = intended / Stopwatch.Frequency, Nanoseconds = intended % Stopwatch.Frequency };
            _ = Sleep(MonotonicClock, AbsoluteTime, time, 0);
            socket.Send(request);
            Receive(socket, answer);
            latencies[i] = Stopwatch.GetTimestamp() - intended;
        }
    }

    private static void Receive(Socket socket, byte[] answer)
    {
        var length = 0;
        while (true)
        {
            var received = socket.Receive(answer.AsSpan(length));
            length += received;
            var text = answer.AsSpan(0, length);
            var end = text.IndexOf("\r\n\r\n"u8);
            if (end > 0)
            {
                var at = text.IndexOf("Content-Length: "u8) + "Content-Length: "u8.Length;
                if (!text.StartsWith("HTTP/1.1 200"u8) || at > end || !int.TryParse(text[at..(at + text[at..].IndexOf((byte)'\r'))], CultureInfo.InvariantCulture, out var body))
                {
                    throw new InvalidOperationException(Encoding.UTF8.GetString(text));
                }

                if (length == end + 4 + body)
                {
                    return;
                }
            }

            if (received == 0 || length == answer.Length)
            {
                throw new InvalidOperationException("The answer ended early, or is too long.");
            }
        }
    }

    private struct TimeSpec
    {
        public long Seconds;
        public long Nanoseconds;
    }

    [LibraryImport("libc", EntryPoint = "clock_nanosleep")]
    private static partial int Sleep(int clock, int flags, in TimeSpec until, nint left);

    [LibraryImport("libc", EntryPoint = "prctl")]
    private static partial int SetOption(int option, nint value, nint third, nint fourth, nint fifth);
}
