using System.CommandLine;
using Slipway.Contracts.Governance;
using Slipway.Web;

namespace Slipway.Cli.Commands;

/// <summary><c>slipway registry docs</c>: the pages of the models, written into a folder.</summary>
internal static class RegistryDocsCommand
{
    public static Command Create(ConnectionOptions connection)
    {
        var target = new Option<DirectoryInfo>("--out") { Required = true, Description = "The folder; made when absent. Files that are not pages of ours are left alone." };
        var model = new Option<string?>("--model") { Description = "Only this model's page; all, and the index, when left out." };
        var command = new Command("docs", "Write a Markdown page per model: where its versions are, history, rollback plan, runbook.") { target, model };
        command.SetAction(async (args, ct) =>
        {
            using var client = connection.Connect(args);
            var folder = args.GetRequiredValue(target).FullName;
            var pages = new List<(string File, string Content)>();
            var list = await client.GetAsync<ModelPageList>("model-pages", ct);
            var chosen = args.GetValue(model);
            foreach (var page in list.Pages.Where(page => chosen is null || page.Model == chosen))
            {
                pages.Add((page.File, await client.GetTextAsync($"model-pages/page?model={Uri.EscapeDataString(page.Model)}", ct)));
            }

            if (chosen is not null && pages.Count == 0)
            {
                await client.GetTextAsync($"model-pages/page?model={Uri.EscapeDataString(chosen)}", ct); // Says that there is no such model.
            }

            var written = ModelPageFiles.Write(folder, pages, chosen is null ? list.Index : null);
            return connection.Print(args, new { folder, written }, _ => args.InvocationConfiguration.Output.WriteLine(
                written.Count == 0 ? $"{folder} is up to date." : $"Written into {folder}: {string.Join(", ", written)}."));
        });
        return command;
    }
}
