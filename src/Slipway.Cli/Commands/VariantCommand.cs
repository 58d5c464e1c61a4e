using System.CommandLine;
using Slipway.Client.Registry;
using Slipway.Contracts;
using Slipway.Contracts.Registry;
using Spectre.Console;

namespace Slipway.Cli.Commands;

/// <summary><c>slipway registry variant delay 1.2.0 --kind int8</c></summary>
internal static class VariantCommand
{
    public static Command Create(ConnectionOptions connection)
    {
        var model = new Argument<string>("model");
        var version = new Argument<string>("version") { Description = "Version, number, stage or alias such as @champion." };
        var kind = new Option<string>("--kind") { Description = "int8: 8-bit integers for constant matrices; optimized: the graph as the runtime fuses it.", DefaultValueFactory = _ => "int8" };
        kind.AcceptOnlyFromAmong("int8", "optimized");
        var file = new Option<FileInfo?>("--file") { Description = "An ONNX file that another tool made of the version, in place of --kind." };
        var sample = new Option<FileInfo?>("--sample") { Description = "CSV of feature rows with a header, which both score; drawn from the training baseline when left out." };
        var bump = new Option<string>("--bump") { Description = "auto, major, minor, patch, or the version itself.", DefaultValueFactory = _ => "auto" };
        var description = new Option<string>("--description") { Description = "What the variant is for.", DefaultValueFactory = _ => "" };
        var command = new Command("variant", "Make a smaller or faster form of a version, run both on the same rows, and register it as the version's child with what came out.") { model, version, kind, file, sample, bump, description };
        command.SetAction(async (args, ct) =>
        {
            using var client = connection.Connect(args);
            var parts = new List<ModelFile>();
            foreach (var part in new[] { args.GetValue(file), args.GetValue(sample) }.OfType<FileInfo>())
            {
                parts.Add(new ModelFile(part.Name, part.Exists ? part : throw new SlipwayException(ErrorCode.InvalidArgument, $"There is no file '{part.FullName}'.")));
            }

            var sent = parts.Count > 0 ? await RegisterCommand.SendAsync(client, parts, ct) : [];
            ModelVersionRecord record = null!;
            await ConnectionOptions.ProgressConsole.Status().StartAsync("Make, compare and measure", async _ =>
                record = await client.PostAsync<ModelVersionRecord>(
                    $"models/{Uri.EscapeDataString(args.GetRequiredValue(model))}/versions/{Uri.EscapeDataString(args.GetRequiredValue(version))}/variants",
                    new MakeVariant(args.GetValue(file) is not null ? VariantKind.File : args.GetValue(kind) == "int8" ? VariantKind.Int8 : VariantKind.Optimized)
                    {
                        File = args.GetValue(file) is null ? null : sent[0],
                        SampleSha256 = args.GetValue(sample) is null ? null : sent[^1].Sha256,
                        Bump = args.GetValue(bump)!,
                        Description = args.GetValue(description)!,
                    },
                    ct));
            return connection.Print(args, record, console => RegisterCommand.Draw(console, record));
        });
        return command;
    }
}
