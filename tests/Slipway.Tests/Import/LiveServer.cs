using System.Collections.Concurrent;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Slipway.Client;
using Slipway.Contracts;
using Slipway.Tests.Hosting;
using Slipway.Tracking;

namespace Slipway.Tests.Import;

/// <summary>A server that answers MLflow's API over HTTP, and can be made to refuse, to cut connections and to die.</summary>
internal sealed class LiveServer : IAsyncDisposable
{
    private AreaHost _host = null!;
    private long _requests;
    private long _failures;
    private int _refused;
    private int _cut;
    private readonly ConcurrentDictionary<string, int> _inARow = new(StringComparer.Ordinal);
    private long _dieAfter = long.MaxValue;

    public SlipwayClient Client { get; private set; } = null!;

    public string Address => _host.Client.BaseAddress!.ToString();

    public long Failures => Interlocked.Read(ref _failures);

    public static async Task<LiveServer> StartAsync()
    {
        var live = new LiveServer();
        live._host = await AreaHost.StartAsync(services => services.AddSlipwayTracking(), app =>
        {
            ((IApplicationBuilder)app).Use(live.Fault);
            app.MapSlipwayTracking();
        });
        live.Client = new SlipwayClient(live._host.Client.BaseAddress!);
        return live;
    }

    /// <summary>Every so many requests 503, or a cut connection; 0 for never. None fails more than three times in a row, since the client gives up after six.</summary>
    public void FailEvery(int refused, int cut)
    {
        _refused = refused;
        _cut = cut;
    }

    public void DieAfter(int requests) => _dieAfter = Interlocked.Read(ref _requests) + requests;

    public void Recover() => _dieAfter = long.MaxValue;

    public Task PutFileAsync(string runId, string path, byte[] bytes) =>
        Client.PutArtifactAsync(runId, path, new MemoryStream(bytes), null, TestContext.Current.CancellationToken);

    public async ValueTask DisposeAsync()
    {
        Client.Dispose();
        await _host.DisposeAsync();
    }

    private async Task Fault(HttpContext context, RequestDelegate next)
    {
        var number = Interlocked.Increment(ref _requests);
        if (number > _dieAfter)
        {
            Interlocked.Increment(ref _failures);
            context.Abort();
        }
        else if (_refused > 0 && number % _refused == 0 && MayFail(context.Request))
        {
            Interlocked.Increment(ref _failures);
            context.Response.Headers.RetryAfter = "0";
            throw new SlipwayException(ErrorCode.Unavailable, "busy");
        }
        else if (_cut > 0 && number % _cut == 0 && MayFail(context.Request))
        {
            // Half of them after the work is done: the answer is lost, not the write.
            Interlocked.Increment(ref _failures);
            if (number % 2 == 0)
            {
                var body = context.Response.Body;
                context.Response.Body = Stream.Null;
                await next(context);
                context.Response.Body = body;
            }

            context.Abort();
        }
        else
        {
            _inARow.TryRemove(Key(context.Request), out _);
            await next(context);
        }
    }

    private bool MayFail(HttpRequest request) => _inARow.AddOrUpdate(Key(request), 1, (_, failures) => failures + 1) <= 3 || !_inARow.TryRemove(Key(request), out _);

    private static string Key(HttpRequest request) => $"{request.Method} {request.Path}{request.QueryString}";
}
