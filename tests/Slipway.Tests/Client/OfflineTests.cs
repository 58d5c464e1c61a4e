using System.Net;
using System.Net.Sockets;
using System.Text;
using Slipway.Client;
using Slipway.Client.Runs;
using Slipway.Contracts.Tracking;

namespace Slipway.Tests.Client;

public sealed class OfflineTests : IAsyncLifetime
{
    private TrackingHost _host = null!;

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync() => _host = await TrackingHost.StartAsync();

    public ValueTask DisposeAsync() => _host.DisposeAsync();

    [Fact]
    [Trait("capability", "X-31")]
    public async Task An_offline_run_is_sent_later_whole_and_once()
    {
        var run = await _host.StartRunAsync(_host.Options with { Offline = OfflineMode.Always, Name = "train ride" });
        await LogAll(run);
        Assert.Null(_host.Runs.Find(run.Id));
        Assert.True(File.Exists(run.JournalPath));
        var copy = Directory.CreateTempSubdirectory("slipway-copy-").FullName;
        Copy(_host.Journals, copy);

        var sent = Assert.Single(await _host.Client.SyncAsync(_host.Journals, cancellationToken: Cancel));
        Assert.Equal((run.Id, SyncOutcome.Sent, null), (sent.RunId, sent.Outcome, sent.Message));
        AssertAll(run);
        Assert.Empty(Directory.EnumerateFileSystemEntries(_host.Journals));
        Assert.Empty(await _host.Client.SyncAsync(_host.Journals, cancellationToken: Cancel));

        // The same journal again, from the beginning: nothing is doubled, nothing changes.
        var before = System.Text.Json.JsonSerializer.Serialize(_host.Record(run));
        Assert.Equal(SyncOutcome.Sent, Assert.Single(await _host.Client.SyncAsync(copy, fromStart: true, cancellationToken: Cancel)).Outcome);
        AssertAll(run);
        Assert.Equal(before, System.Text.Json.JsonSerializer.Serialize(_host.Record(run)));
        Directory.Delete(copy, recursive: true);
    }

    [Fact]
    [Trait("capability", "X-31")]
    public async Task Without_a_server_training_goes_on_and_the_run_waits_on_disk()
    {
        using var nobody = new SlipwayClient(new Uri("http://127.0.0.1:1"));
        var run = await nobody.StartRunAsync("flights", _host.Options);
        await LogAll(run);

        Assert.Contains(_host.Problems, problem => problem.Contains("No Slipway server answers", StringComparison.Ordinal));
        Assert.Contains(_host.Problems, problem => problem.Contains("slipway sync", StringComparison.Ordinal));
        Assert.Equal(SyncOutcome.Unreachable, Assert.Single(await nobody.SyncAsync(_host.Journals, cancellationToken: Cancel)).Outcome);
        Assert.True(File.Exists(run.JournalPath));
        Assert.Equal(SyncOutcome.Sent, Assert.Single(await _host.Client.SyncAsync(_host.Journals, cancellationToken: Cancel)).Outcome);
        AssertAll(run);
        await Assert.ThrowsAsync<ServerUnreachableException>(() => nobody.StartRunAsync("flights", _host.Options with { Offline = OfflineMode.Never }));
        Assert.Empty(Directory.EnumerateFileSystemEntries(_host.Journals));
    }

    [Fact]
    [Trait("capability", "X-31")]
    public async Task A_server_that_goes_away_and_comes_back_gets_everything_while_the_run_goes_on()
    {
        await using var proxy = new UnreliableProxy(_host.Client.Server);
        using var client = new SlipwayClient(proxy.Address);
        await using var run = await client.StartRunAsync("flights", _host.Options with { FlushInterval = TimeSpan.FromMilliseconds(20), EndTimeout = TimeSpan.FromMinutes(1) });
        run.LogMetric("loss", 3, 1);
        await WaitForPoints(run, 1);

        proxy.Refuse = "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        var refusedBefore = proxy.Refused;
        run.LogMetric("loss", 2, 2);
        while (proxy.Refused == refusedBefore)
        {
            await Task.Delay(10, Cancel);
        }

        proxy.Refuse = null;
        run.LogMetric("loss", 1, 3);
        await WaitForPoints(run, 3);
        Assert.True(proxy.PassedAfterRefusal >= TimeSpan.FromMilliseconds(990), $"Asked to wait for a second, the client came again after {proxy.PassedAfterRefusal}.");

        proxy.Refuse = ""; // Cuts the connection without an answer.
        run.LogMetric("loss", 0.5, 4);
        while (!_host.Problems.Any(problem => problem.Contains("No Slipway server answers", StringComparison.Ordinal)))
        {
            await Task.Delay(10, Cancel);
        }

        proxy.Refuse = null;
        await run.DisposeAsync();
        Assert.Equal([3, 2, 1, 0.5], _host.Runs.MetricHistory(run.Id, "loss").Select(point => point.Value));
        Assert.Equal(RunStatus.Finished, _host.Record(run).Status);
    }

    [Fact]
    [Trait("capability", "X-31")]
    public async Task A_torn_end_of_a_journal_is_left_out_and_the_run_ends_as_killed()
    {
        var run = await _host.StartRunAsync(_host.Options with { Offline = OfflineMode.Always });
        run.LogMetric("loss", 3, 1);
        await run.FlushAsync(Cancel);
        var killed = Path.Combine(Directory.CreateTempSubdirectory("slipway-killed-").FullName, Path.GetFileName(run.JournalPath));
        File.Copy(run.JournalPath, killed);
        await File.AppendAllTextAsync(killed, """{"key":"loss","points":[[2,17""", Cancel);

        // This process still writes the run's own journal: nobody else may send it.
        Assert.Equal(SyncOutcome.Running, Assert.Single(await _host.Client.SyncAsync(_host.Journals, cancellationToken: Cancel)).Outcome);
        var sent = Assert.Single(await _host.Client.SyncAsync(Path.GetDirectoryName(killed)!, cancellationToken: Cancel));

        Assert.Equal(SyncOutcome.Sent, sent.Outcome);
        Assert.Contains("cut off", sent.Message, StringComparison.Ordinal);
        Assert.Equal((RunStatus.Killed, 3.0), (_host.Record(run).Status, _host.Record(run).Metric("loss")!.Value));
        Assert.Contains("killed", _host.Record(run).FailureReason, StringComparison.Ordinal);
        await run.DisposeAsync();
        Directory.Delete(Path.GetDirectoryName(killed)!, recursive: true);
    }

    [Fact]
    public async Task A_part_that_the_server_refuses_is_set_aside_and_the_rest_arrives()
    {
        var run = await _host.StartRunAsync(_host.Options with { Offline = OfflineMode.Always });
        run.LogParameter("lr", 0.1);
        run.LogMetric("loss", 3, 1);
        await run.DisposeAsync();
        await _host.Client.PutRunAsync(run.Id, new PutRun { ExperimentName = "flights", Parameters = new Dictionary<string, string> { ["lr"] = "0.2" } }, Cancel);

        var sent = Assert.Single(await _host.Client.SyncAsync(_host.Journals, cancellationToken: Cancel));

        Assert.Equal(SyncOutcome.Sent, sent.Outcome);
        Assert.Contains("already logged with value='0.2'", sent.Message, StringComparison.Ordinal);
        Assert.Equal(("0.2", 3.0, RunStatus.Finished), (_host.Record(run).Parameters["lr"], _host.Record(run).Metric("loss")!.Value, _host.Record(run).Status));
        Assert.Contains("\"lr\":\"0.1\"", await File.ReadAllTextAsync(Assert.Single(Directory.EnumerateFiles(_host.Journals)), Cancel), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_server_that_has_lost_the_run_gets_it_from_the_beginning()
    {
        var run = await _host.StartRunAsync();
        run.LogMetric("loss", 3, 1);
        await WaitForPoints(run, 1);
        await using var other = await TrackingHost.StartAsync();
        var note = Path.ChangeExtension(run.JournalPath, ".sent");
        await run.FlushAsync(Cancel);
        Copy(_host.Journals, other.Journals);
        var copied = Path.Combine(other.Journals, Path.GetFileName(note));
        // As if the other server stood at the address whose acknowledgements were noted.
        await File.WriteAllTextAsync(copied, (await File.ReadAllTextAsync(copied, Cancel)).Replace(_host.Client.Server.ToString(), other.Client.Server.ToString(), StringComparison.Ordinal), Cancel);
        File.Delete(Path.ChangeExtension(Path.Combine(other.Journals, Path.GetFileName(note)), ".lock"));
        await File.AppendAllTextAsync(Path.Combine(other.Journals, Path.GetFileName(run.JournalPath)), """{"key":"loss","points":[[2,1700000000000,2]]}""" + "\n", Cancel);

        Assert.Equal(SyncOutcome.Sent, Assert.Single(await other.Client.SyncAsync(other.Journals, cancellationToken: Cancel)).Outcome);
        Assert.Equal([3.0, 2.0], other.Runs.MetricHistory(run.Id, "loss").Select(point => point.Value));
        await run.DisposeAsync();
    }

    private static async Task LogAll(ActiveRun run)
    {
        run.LogParameter("lr", 0.1);
        for (var step = 0; step < 20_000; step++)
        {
            run.LogMetric("loss", 1.0 / (step + 1), step);
        }

        run.LogMetric("odd", double.PositiveInfinity);
        run.LogInput(new RunInput("flights@1", new string('a', 64), "flights.parquet", "train", 1000));
        await run.LogTextAsync("report.md", "# Report");
        await run.DisposeAsync();
    }

    private void AssertAll(ActiveRun run)
    {
        var record = _host.Record(run);
        Assert.Equal((RunStatus.Finished, "0.1"), (record.Status, record.Parameters["lr"]));
        Assert.Equal(Enumerable.Range(0, 20_000).Select(step => (long)step), _host.Runs.MetricHistory(run.Id, "loss").Select(point => point.Step));
        Assert.Equal(double.MaxValue, record.Metric("odd"));
        Assert.Single(record.Inputs);
        Assert.Equal("report.md", Assert.Single(record.Artifacts).Path);
    }

    private async Task WaitForPoints(ActiveRun run, int points)
    {
        while (_host.Runs.MetricHistory(run.Id, "loss").Count < points)
        {
            await Task.Delay(10, Cancel);
        }
    }

    private static void Copy(string from, string to)
    {
        foreach (var file in Directory.EnumerateFiles(from, "*", SearchOption.AllDirectories).Where(file => !file.EndsWith(".lock", StringComparison.Ordinal)))
        {
            var target = Path.Combine(to, Path.GetRelativePath(from, file));
            Directory.CreateDirectory(Path.GetDirectoryName(target)!);
            File.Copy(file, target);
        }
    }

    /// <summary>Passes connections through to a server, or answers each with a text of its own and hangs up.</summary>
    private sealed class UnreliableProxy : IAsyncDisposable
    {
        private readonly TcpListener _listener = new(IPAddress.Loopback, 0);
        private readonly CancellationTokenSource _stop = new();
        private readonly List<TcpClient> _open = [];
        private readonly Uri _server;
        private readonly Task _loop;
        private volatile string? _refuse;
        private int _refused;
        private long _refusedAt;
        private long _passedAt;

        public UnreliableProxy(Uri server)
        {
            _server = server;
            _listener.Start();
            Address = new Uri($"http://127.0.0.1:{((IPEndPoint)_listener.LocalEndpoint).Port}");
            _loop = AcceptAsync();
        }

        public Uri Address { get; }

        /// <summary>Answers of its own that have been sent.</summary>
        public int Refused => Volatile.Read(ref _refused);

        /// <summary>From the last refusal to the first connection that was passed on after it.</summary>
        public TimeSpan PassedAfterRefusal => System.Diagnostics.Stopwatch.GetElapsedTime(Volatile.Read(ref _refusedAt), Volatile.Read(ref _passedAt));

        public string? Refuse
        {
            get => _refuse;
            set
            {
                _refuse = value;
                lock (_open)
                {
                    // Connections that were kept open go too, so that the next request meets the new answer.
                    _open.ForEach(client => client.Dispose());
                    _open.Clear();
                }
            }
        }

        public async ValueTask DisposeAsync()
        {
            await _stop.CancelAsync();
            _listener.Stop();
            Refuse = "";
            await _loop;
            _stop.Dispose();
        }

        private async Task AcceptAsync()
        {
            try
            {
                while (true)
                {
                    var client = await _listener.AcceptTcpClientAsync(_stop.Token);
                    lock (_open)
                    {
                        _open.Add(client);
                    }

                    _ = ServeAsync(client);
                }
            }
            catch (Exception e) when (e is OperationCanceledException or SocketException)
            {
                return;
            }
        }

        private async Task ServeAsync(TcpClient client)
        {
            try
            {
                using (client)
                {
                    var stream = client.GetStream();
                    if (_refuse is { } answer)
                    {
                        _ = await stream.ReadAtLeastAsync(new byte[64 * 1024], 1, throwOnEndOfStream: false);
                        Volatile.Write(ref _passedAt, 0);
                        Volatile.Write(ref _refusedAt, System.Diagnostics.Stopwatch.GetTimestamp());
                        await stream.WriteAsync(Encoding.ASCII.GetBytes(answer));
                        Interlocked.Increment(ref _refused);
                        return;
                    }

                    Interlocked.CompareExchange(ref _passedAt, System.Diagnostics.Stopwatch.GetTimestamp(), 0);

                    using var server = new TcpClient();
                    await server.ConnectAsync(_server.Host, _server.Port);
                    await Task.WhenAny(stream.CopyToAsync(server.GetStream()), server.GetStream().CopyToAsync(stream));
                }
            }
            catch (Exception e) when (e is IOException or SocketException or ObjectDisposedException or InvalidOperationException)
            {
                return;
            }
        }
    }
}
