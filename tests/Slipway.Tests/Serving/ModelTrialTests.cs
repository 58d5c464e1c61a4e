using System.ComponentModel;
using System.Diagnostics;
using System.Globalization;
using System.Security.Cryptography;
using Microsoft.Extensions.Logging.Abstractions;
using Slipway.Contracts;
using Slipway.Native.Onnx;
using Slipway.Registry.Formats;
using Slipway.Serving;
using Slipway.Serving.Folder;

namespace Slipway.Tests.Serving;

/// <summary>Models are tried in a process of their own before the server loads them.</summary>
public sealed class ModelTrialTests
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    // Seconds of matrix products: long enough to be ended from outside, as a crash of the runtime ends it.
    private static byte[] Slow()
    {
        const int Products = 600;
        var writer = new OnnxModelWriter("slow").AddInput("X0", OnnxElementType.Float, 1500, 1500).AddOutput($"X{Products}", OnnxElementType.Float, 1500, 1500);
        for (var i = 0; i < Products; i++)
        {
            writer.AddNode("MatMul", [$"X{i}", "X0"], [$"X{i + 1}"]);
        }

        return writer.ToBytes();
    }

    [Fact]
    public async Task A_process_that_dies_of_a_model_takes_no_server_with_it()
    {
        await using var host = await ServingHost.StartAsync();
        var version = await host.RegisterTensorsAsync(Slow());

        var loading = Task.Run(() => host.Area.Service<ModelLoader>().Load(version), Cancel);
        await KillTrialAsync();

        var refused = await Assert.ThrowsAsync<SlipwayException>(() => loading);
        Assert.Equal("Version 1.0.0 of 'flight-delay' cannot be served: it was tried in a process of its own, and the runtime crashed on it (exit code 137).", refused.Message);
        Assert.Equal(404, (await host.InferAsync(ServingHost.Matrix(1, 2))).Status); // It answers on.
    }

    [Fact]
    public async Task A_model_of_the_folder_is_tried_too()
    {
        var folder = Directory.CreateTempSubdirectory("slipway-test-").FullName;
        var path = Path.Combine(Directory.CreateDirectory(Path.Combine(folder, "slow", "1")).FullName, "model.onnx");
        await File.WriteAllBytesAsync(path, Slow(), Cancel);

        var loading = Task.Run(() => FolderModel.Load(Path.Combine(folder, "slow"), NullLogger.Instance), Cancel);
        await KillTrialAsync();

        Assert.Equal("version 1 was tried in a process of its own, and the runtime crashed on it (exit code 137)", (await loading).Fault);
        Directory.Delete(folder, recursive: true);
    }

    [Fact]
    public async Task A_benchmark_that_failed_on_its_own_values_or_on_a_lost_file_keeps_nobody_from_loading()
    {
        await using var host = await ServingHost.StartAsync();
        var picky = await host.RegisterTensorsAsync(new OnnxModelWriter("picky").AddInput("A", OnnxElementType.Int32, -1).AddInput("B", OnnxElementType.Int32, -1).AddOutput("Y", OnnxElementType.Int32, -1)
            .AddNode("Div", ["A", "B"], ["Y"]).ToBytes(), "picky"); // Not by the benchmark's zeros.
        var lost = await host.RegisterTensorsAsync(TensorModels.Echo(OnnxElementType.Float, -1), "lost");
        var file = host.Blobs.PathOf(lost.ServedSha256!);
        var content = await File.ReadAllBytesAsync(file, Cancel);
        File.Delete(file);

        await host.Registry.MeasureAsync("picky", picky.Version, TimeProvider.System, Cancel);
        await host.Registry.MeasureAsync("lost", lost.Version, TimeProvider.System, Cancel);
        await File.WriteAllBytesAsync(file, content, Cancel);

        foreach (var version in new[] { picky, lost })
        {
            var measured = host.Registry.Get(version.Model, version.Version);
            Assert.True(measured.Profile!.Benchmark is { Fault: not null, IsCrash: false }, $"{measured.Profile.Benchmark}");
            Assert.Equal(version.Model, host.Area.Service<ModelLoader>().Load(measured).Model);
        }
    }

    [Fact]
    public async Task What_refuses_made_up_values_is_no_fault_and_what_cannot_be_read_is()
    {
        var path = Path.GetTempFileName();
        var graph = new OnnxModelWriter("picky").AddInput("X", OnnxElementType.Float, 4).AddInput("S", OnnxElementType.Int64, 1).AddOutput("Y", OnnxElementType.Float, -1)
            .AddNode("Reshape", ["X", "S"], ["Y"]).ToBytes(); // To no elements, with the trial's zero.
        await File.WriteAllBytesAsync(path, graph, Cancel);
        Assert.Null(await ModelTrial.FindFaultAsync(path, Convert.ToHexString(SHA256.HashData(graph)), Cancel));

        await File.WriteAllTextAsync(path, "no graph", Cancel);
        Assert.NotNull(await ModelTrial.FindFaultAsync(path, "no graph", Cancel));
        File.Delete(path);
    }

    // The trials of other tests take less than a second of the processor.
    private static async Task KillTrialAsync()
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(Cancel);
        limit.CancelAfter(TimeSpan.FromSeconds(50));
        while (true)
        {
            foreach (var process in Process.GetProcesses())
            {
                using (process)
                {
                    try
                    {
                        if (IsTrial(process.Id) && process.TotalProcessorTime > TimeSpan.FromSeconds(3))
                        {
                            process.Kill();
                            return;
                        }
                    }
                    catch (Exception e) when (e is InvalidOperationException or Win32Exception)
                    {
                        // That of another test, which has ended meanwhile.
                    }
                }
            }

            await Task.Delay(50, limit.Token);
        }
    }

    private static bool IsTrial(int id)
    {
        try
        {
            // "pid (name) state parent …"
            var parent = File.ReadAllText($"/proc/{id}/stat").Split(") ").Last().Split(' ')[1];
            return int.Parse(parent, CultureInfo.InvariantCulture) == Environment.ProcessId && File.ReadAllText($"/proc/{id}/cmdline").Contains("model-trial", StringComparison.Ordinal);
        }
        catch (IOException)
        {
            return false; // It has ended meanwhile.
        }
    }
}
