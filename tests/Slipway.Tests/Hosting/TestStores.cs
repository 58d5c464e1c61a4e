using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;
using Slipway.Storage;

namespace Slipway.Tests.Hosting;

/// <summary>The stores on a data folder of their own, without a server.</summary>
internal sealed class TestStores : IAsyncDisposable
{
    private readonly ServiceProvider _services;
    private readonly string _data;
    private readonly bool _ownsFolder;

    public TestStores(Action<IServiceCollection>? services = null, string? folder = null)
    {
        _ownsFolder = folder is null;
        _data = folder ?? Directory.CreateTempSubdirectory("slipway-test-").FullName;
        var collection = new ServiceCollection();
        collection.AddSingleton(typeof(ILogger<>), typeof(NullLogger<>));
        collection.AddSlipwayStorage(TestDatabase.Options(_data));
        services?.Invoke(collection);
        _services = collection.BuildServiceProvider();
    }

    public static Caller Caller { get; } = new("ada", "request-1");

    public Database Database => Get<Database>();

    public StorageOptions Options => Get<StorageOptions>();

    public T Get<T>() where T : notnull => _services.GetRequiredService<T>();

    public async ValueTask DisposeAsync()
    {
        await _services.DisposeAsync();
        if (_ownsFolder)
        {
            Directory.Delete(_data, recursive: true);
        }
    }
}
