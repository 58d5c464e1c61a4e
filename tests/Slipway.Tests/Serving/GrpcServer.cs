using System.Globalization;
using System.Net;
using Google.Protobuf;
using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.DependencyInjection;
using Slipway.Contracts.Identity;
using Slipway.Identity;
using Slipway.Native.Onnx;
using Slipway.Serving.Deployments;
using Slipway.Serving.Folder;
using Slipway.Storage;
using Slipway.Tests.Hosting;
using Slipway.Web;

namespace Slipway.Tests.Serving;

/// <summary>The whole server with a folder of models, both ports open, and a user's token. Calls are framed by hand, so that they can be wrong.</summary>
public sealed class GrpcServer : IAsyncLifetime
{
    private readonly string _data = Directory.CreateTempSubdirectory("slipway-test-").FullName;

    public WebApplication App { get; private set; } = null!;

    public HttpClient Grpc { get; private set; } = null!;

    public HttpClient Http { get; private set; } = null!;

    public string Repository => Path.Combine(_data, "models");

    public string Token { get; private set; } = "";

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public ValueTask InitializeAsync() => InitializeAsync(ready: true);

    /// <summary>Starts, and waits until it has looked at all models: with one that cannot be served it never is ready.</summary>
    public async ValueTask InitializeAsync(bool ready)
    {
        Add("simple", TensorModels.SumAndDifference());
        Add("texts", TensorModels.Echo(OnnxElementType.String, -1));
        Add("halves", TensorModels.Echo(OnnxElementType.Float16, -1));
        Add("small", TensorModels.Echo(OnnxElementType.Int8, -1));
        var port = FreePort.Next();
        var options = new ServerOptions { DataDirectory = _data, Database = TestDatabase.Address(_data), Host = "0.0.0.0", Port = 0, GrpcPort = port, ModelRepository = Repository, MaxBodyBytes = 4 << 20 };
        App = SlipwayServer.Build(options);
        await App.StartAsync(Cancel);
        Token = (await App.Services.GetRequiredService<UserStore>().CreateAsync("ada", Role.MlEngineer, Caller.System("test"), Cancel)).Token;
        Grpc = new HttpClient { BaseAddress = new Uri($"http://127.0.0.1:{port}") };
        Http = new HttpClient { BaseAddress = new Uri(App.Urls.First(url => !url.EndsWith($":{port}", StringComparison.Ordinal)).Replace("0.0.0.0", "127.0.0.1", StringComparison.Ordinal)) };
        Http.DefaultRequestHeaders.Authorization = new("Bearer", Token);
        await ServingHost.UntilAsync(() => ready ? App.Services.GetRequiredService<DeploymentReports>().IsReady : App.Services.GetRequiredService<ModelFolder>().Models is { Count: > 0 } models && models.Values.All(model => model != FolderModel.Loading));
    }

    public async ValueTask DisposeAsync()
    {
        // What did not come to be has no end; without the question the reason of a failed start would not be told.
        Grpc?.Dispose();
        Http?.Dispose();
        if (App is not null)
        {
            await App.StopAsync(CancellationToken.None);
            await App.DisposeAsync();
        }

        Directory.Delete(_data, recursive: true);
    }

    /// <summary>Puts a model into the folder.</summary>
    public void Add(string name, byte[] onnx, int version = 1, string? config = null, string? serving = null)
    {
        var folder = Directory.CreateDirectory(Path.Combine(Repository, name, version.ToString(CultureInfo.InvariantCulture))).FullName;
        File.WriteAllBytes(Path.Combine(folder, "model.onnx"), onnx);
        if (config is not null)
        {
            File.WriteAllText(Path.Combine(Repository, name, "config.pbtxt"), config);
        }

        if (serving is not null)
        {
            File.WriteAllText(Path.Combine(Repository, name, "serving.yaml"), serving);
        }
    }

    /// <summary>A call with one message.</summary>
    public async Task<(int Status, string Message, T? Answer)> CallAsync<T>(string call, IMessage request, MessageParser<T> parser, string? token = null, Action<HttpRequestMessage>? change = null)
        where T : class, IMessage<T>
    {
        var (status, message, bytes) = await SendAsync(call, Frame(request.ToByteArray()), token, change);
        return (status, message, bytes.Length < 5 ? null : parser.ParseFrom(bytes.AsSpan(5)));
    }

    /// <summary>A call with any bytes.</summary>
    public async Task<(int Status, string Message, byte[] Bytes)> SendAsync(string call, byte[] body, string? token = null, Action<HttpRequestMessage>? change = null)
    {
        using var request = new HttpRequestMessage(HttpMethod.Post, call.StartsWith('/') ? call : $"/inference.GRPCInferenceService/{call}")
        {
            Version = HttpVersion.Version20,
            VersionPolicy = HttpVersionPolicy.RequestVersionExact,
            Content = new ByteArrayContent(body),
        };
        request.Content.Headers.ContentType = new("application/grpc");
        request.Headers.TryAddWithoutValidation("authorization", $"Bearer {token ?? Token}");
        change?.Invoke(request);
        using var answer = await Grpc.SendAsync(request, Cancel);
        Assert.Equal(HttpStatusCode.OK, answer.StatusCode);
        var bytes = await answer.Content.ReadAsByteArrayAsync(Cancel);
        var from = answer.Headers.Contains("grpc-status") ? answer.Headers : answer.TrailingHeaders;
        return (int.Parse(from.GetValues("grpc-status").Single(), CultureInfo.InvariantCulture), from.TryGetValues("grpc-message", out var message) ? Uri.UnescapeDataString(message.Single()) : "", bytes);
    }

    public static byte[] Frame(ReadOnlySpan<byte> message, byte flag = 0) =>
        [flag, (byte)(message.Length >> 24), (byte)(message.Length >> 16), (byte)(message.Length >> 8), (byte)message.Length, .. message];
}
