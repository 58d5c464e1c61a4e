using System.Diagnostics;
using System.Globalization;
using System.Net.Sockets;
using System.Runtime.InteropServices;
using System.Text;

namespace Slipway.Bench;

/// <summary>
/// A fixed rate, evenly spread: a request every so many microseconds, on one connection after the other, whatever the answers do. Latency counts from when
/// a request should have been sent. Load generators that keep to a rate by a timer of milliseconds send the requests of each tick at once, which measures a full load in small pieces;
/// a thread for each connection takes as much of the processors as the server does. This is one thread, which sleeps until a request is due or an answer is there.
/// </summary>
internal static partial class PacedLoad
{
    private const int TimerSlackOption = 29;
    private const short Readable = 1;
    private const int Interrupted = 4; // By a signal; the wait begins anew.

    /// <summary>Runs it; the first tenth does not count.</summary>
    public static async Task<Load> RunAsync(MeasuredProcess server, string path, string body, int perSecond, BenchSettings settings)
    {
        var json = await File.ReadAllBytesAsync(body);
        var head = string.Create(CultureInfo.InvariantCulture, $"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{server.Address.Port}\r\nContent-Type: application/json\r\nContent-Length: {json.Length}\r\n\r\n");
        byte[] request = [.. Encoding.ASCII.GetBytes(head), .. json];
        var count = perSecond * settings.Seconds;
        var latencies = new long[count];
        var cpuBefore = server.CpuMicroseconds();
        var start = Stopwatch.GetTimestamp() + (Stopwatch.Frequency / 20);
        Exception? failure = null;
        var thread = new Thread(() =>
        {
            try
            {
                Send(server.Address.Port, request, start, perSecond, latencies, settings.Connections);
            }
            catch (Exception e)
            {
                failure = e;
            }
        });
        thread.Start();
        thread.Join();
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

    private static unsafe void Send(int port, byte[] request, long start, int perSecond, long[] latencies, int connections)
    {
        _ = SetOption(TimerSlackOption, 1, 0, 0, 0); // The system may wake a thread 50 us late otherwise.
        var open = new Connection[connections];
        var polled = stackalloc Polled[connections];
        try
        {
            for (var c = 0; c < connections; c++)
            {
                open[c] = new Connection(port, c);
                polled[c] = new Polled { File = (int)open[c].Socket.Handle, Asked = Readable, Found = 0 };
            }

            var (due, answered) = (0, 0);
            while (answered < latencies.Length)
            {
                var now = Stopwatch.GetTimestamp();
                for (; due < latencies.Length && Intended(due) <= now; due++)
                {
                    open[due % connections].SendUnlessBusy(request);
                }

                var wait = Math.Max(0, (due < latencies.Length ? Intended(due) : now + Stopwatch.Frequency) - now);
                var until = new TimeSpec { Seconds = wait / Stopwatch.Frequency, Nanoseconds = wait % Stopwatch.Frequency * (1_000_000_000 / Stopwatch.Frequency) };
                var ready = Poll(polled, (nuint)connections, &until, null);
                if (ready < 0 && Marshal.GetLastPInvokeError() != Interrupted)
                {
                    throw new IOException($"The system refused to wait for answers: error {Marshal.GetLastPInvokeError()}.");
                }

                for (var c = 0; ready > 0; c++)
                {
                    if (polled[c].Found == 0)
                    {
                        continue;
                    }

                    ready--;
                    var connection = open[c];
                    if (connection.Receive())
                    {
                        latencies[connection.Request] = Stopwatch.GetTimestamp() - Intended(connection.Request);
                        answered++;
                        connection.Request += connections;
                        if (connection.Request < due)
                        {
                            connection.SendUnlessBusy(request);
                        }
                    }
                }
            }
        }
        finally
        {
            foreach (var connection in open)
            {
                connection?.Socket.Dispose();
            }
        }

        long Intended(int i) => start + (long)(i * (double)Stopwatch.Frequency / perSecond);
    }

    /// <summary>One connection, with one request under way at a time.</summary>
    private sealed class Connection
    {
        private readonly byte[] _answer = new byte[8192];
        private int _length;
        private bool _isBusy;

        public Connection(int port, int first)
        {
            Request = first;
            Socket.Connect("127.0.0.1", port);
        }

        public Socket Socket { get; } = new(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };

        /// <summary>The number of that under way, or of the next.</summary>
        public int Request { get; set; }

        public void SendUnlessBusy(byte[] request)
        {
            if (!_isBusy)
            {
                _isBusy = true;
                _length = 0;
                Socket.Send(request);
            }
        }

        /// <summary>Takes what has come; true when the answer is whole.</summary>
        public bool Receive()
        {
            var received = Socket.Receive(_answer.AsSpan(_length));
            _length += received;
            var text = _answer.AsSpan(0, _length);
            var end = text.IndexOf("\r\n\r\n"u8);
            if (end > 0)
            {
                var at = text.IndexOf("Content-Length: "u8) + "Content-Length: "u8.Length;
                if (!text.StartsWith("HTTP/1.1 200"u8) || at > end || !int.TryParse(text[at..(at + text[at..].IndexOf((byte)'\r'))], CultureInfo.InvariantCulture, out var body))
                {
                    throw new InvalidOperationException(Encoding.UTF8.GetString(text));
                }

                if (_length == end + 4 + body)
                {
                    _isBusy = false;
                    return true;
                }
            }

            return received > 0 && _length < _answer.Length ? false : throw new InvalidOperationException("The answer ended early, or is too long.");
        }
    }

    private struct TimeSpec
    {
        public long Seconds;
        public long Nanoseconds;
    }

    private struct Polled
    {
        public int File;
        public short Asked;
        public short Found;
    }

    [LibraryImport("libc", EntryPoint = "ppoll", SetLastError = true)]
    private static unsafe partial int Poll(Polled* files, nuint count, TimeSpec* timeout, void* mask);

    [LibraryImport("libc", EntryPoint = "prctl")]
    private static partial int SetOption(int option, nint value, nint third, nint fourth, nint fifth);
}
